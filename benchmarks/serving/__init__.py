"""Sizewise beside the model servers that a Python user would otherwise reach for, on the same models and machine."""
