"""Draws synthetic people from known factors: any foreground in any pose before any background."""
