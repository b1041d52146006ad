"""A conditional auto-encoder of strokes: the system that the tests add to the tree."""
