"""Comparison of recipes on real trainings: error against time, and how well a short training ranks architectures."""
