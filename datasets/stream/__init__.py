"""Shards to batches, in an exact order."""
