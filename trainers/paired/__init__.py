"""Sets of pairs of images: reading them, and what is known of them; for systems that translate between two domains."""
