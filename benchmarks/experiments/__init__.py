"""Experiments in simulation: what size is worth, how far from the best, against whom. See docs/experiments.md."""
