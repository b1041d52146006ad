"""InfoGAN: its configuration, its update, its measures."""
