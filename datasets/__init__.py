"""Raw images → shards → object store → batches. Knows nothing of models."""
