"""Contracts between the parts: backend, clock, wire formats, errors."""
