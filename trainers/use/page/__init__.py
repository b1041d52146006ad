"""A run as one page that needs no network: measures, curves, pictures by update, and an explorer of its model."""
