"""Pix2pix's sizes and networks (Isola et al., CVPR 2017)."""
