"""Turns raw images into shards, keeps them in an object store, and streams batches from them. Imports no models."""
