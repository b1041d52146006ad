"""Stage I: an image from its foreground, its background and its pose."""
