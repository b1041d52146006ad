"""The error that everything in this package raises for a user's data."""

from unbraid.datasets.passwords import without_password


class DataError(Exception):
    """Data that cannot be read or written; the message names the file or key, what was expected and what to do.

    URLs in the message lose their user and password, because messages are printed and stored.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(without_password(str(message)))
