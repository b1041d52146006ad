"""Draws data sets whose every factor is known."""
