"""Measured, side by side, in one run; results are dated files in ``results/``."""
