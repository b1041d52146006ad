"""Users and passwords in URLs: hidden in text that is shown or stored."""

import re

_USER_IN_URL = re.compile(r"""://(?:[^\s/"<>]*|[^\s/:@"<>]+:(?!\d+/)[^\s@"<>]{0,300})@""")
"""Up to the last @ before the path; or a password that holds slashes, as Amazon's do, which is no port."""
NO_PASSWORDS = (
    "has a user and a password in it, which would be stored and shown with it; leave them out, and set AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY"
)


def without_password(text: str) -> str:
    """Return text with ``***@`` in place of ``USER:PASSWORD@`` in all URLs in it."""
    return _USER_IN_URL.sub("://***@", text)


def has_password(url: str) -> bool:
    """Return whether a URL has a user, with or without a password."""
    return without_password(url) != url
