"""Checks whether a run can train on a cluster."""
