"""Training a campaign's trials on Ray Tune."""
