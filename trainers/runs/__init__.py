"""A run in its storage: record, events, checkpoints, lease, report."""
