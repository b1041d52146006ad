"""What is measured against; runs in an environment of its own and imports nothing of ours."""
