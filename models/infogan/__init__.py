"""InfoGAN's codes, sizes and networks (Chen et al., NIPS 2016)."""
