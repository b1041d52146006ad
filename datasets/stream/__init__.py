"""Streams batches from shards, in an order that is a pure function of the seed."""
