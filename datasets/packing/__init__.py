"""Writes packed sets: plans shards, claims the place, writes, verifies, and writes the index last."""
