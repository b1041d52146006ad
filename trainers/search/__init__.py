"""Campaigns: searches over the configurations of any system, on Ray Tune. Imports go report → trials → plan → campaign."""
