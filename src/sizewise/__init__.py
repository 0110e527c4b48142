"""Serve, train and scale machine-learning models by what they weigh."""

__all__ = ["__version__"]

__version__ = "0.1.0"
