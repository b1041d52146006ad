"""Trackers that teams have: a run's curves and pictures go there too, and never slow or stop the run."""
