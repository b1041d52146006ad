"""The auto-encoder of pictures with a known number of strokes."""
