"""Makes a set of tars that exist already, without copying or changing them: their tables and an index."""
