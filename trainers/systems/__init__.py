"""The systems: each a folder with its configuration, update, measures and pictures."""
