"""DPIG: people as foreground, background and pose. Stage I rebuilds images from the three, stage II draws each from noise."""
