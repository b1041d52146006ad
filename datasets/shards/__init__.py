"""The format of packed sets: tars, tables, the index."""
