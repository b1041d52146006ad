"""CDD's sizes, networks and critics (Gonzalez-Garcia et al., NeurIPS 2018)."""
