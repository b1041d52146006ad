"""What was trained is used: models by name with images in and out, and exports that need no run."""
