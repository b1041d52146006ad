"""Stage I: the auto-encoder of poses."""
