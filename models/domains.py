"""The two domains of a set of pairs, by name: nothing here imports torch."""

DOMAINS = ("x", "y")
OTHER = {"x": "y", "y": "x"}
"""The other domain of each."""
