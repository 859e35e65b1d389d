"""Measurements of rksearch itself: how fast it trains, and what each of its means is worth."""
