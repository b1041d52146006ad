"""The format of a packed set: tars of equal sample count, a table beside each, and one index."""
