"""The error that everything in this package raises for a user's data."""


class DataError(Exception):
    """Data that cannot be read or written; the message names the file or key, what was expected and what to do."""
