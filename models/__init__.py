"""What is trained: latent codes, networks and losses. Pure torch and kornia; no files, no Ray, no config parsing."""
