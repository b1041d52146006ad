"""Played S3 servers for the tests of this folder."""

from tests.datasets.store.played_s3 import play

__all__ = ["play"]
