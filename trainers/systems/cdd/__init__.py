"""CDD: image-to-image translation with shared and exclusive representations (Gonzalez-Garcia et al., NeurIPS 2018)."""
