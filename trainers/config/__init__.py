"""Configurations: their schema, presets, overrides, pipelines."""
