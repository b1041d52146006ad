"""DPIG's sizes, networks and poses (Ma et al., CVPR 2018)."""
