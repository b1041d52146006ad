"""Pix2pix: translation of paired images in one direction (Isola et al., CVPR 2017), the baseline of CDD."""
