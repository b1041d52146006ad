"""Campaigns: searches over the configurations of any system, on Ray Tune."""
