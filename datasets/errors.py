"""The one error of the data layer."""


class DataError(Exception):
    """Data that cannot be read or written; the message names the file or key, what was expected and what to do."""
