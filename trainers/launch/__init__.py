"""Ways to start the one training function."""
