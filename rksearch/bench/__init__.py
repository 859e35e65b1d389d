"""Measurements of rksearch itself: costing, training, single optimisations, precision, scheduling."""
