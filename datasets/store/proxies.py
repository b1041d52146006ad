"""Proxies that the environment names: who is reached by them, and who is reached past them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from unbraid.datasets.passwords import without_password

VARIABLES = ("no_proxy", "NO_PROXY")
"""Programs read the one or the other."""


def proxy_note(url: str) -> str:
    """Say by which proxy a server is reached, and how to reach it without; "" where it is reached directly."""
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme)
    if not proxy or not parts.hostname or proxy_bypass(parts.hostname):
        return ""
    return f", by the proxy {without_password(proxy)} ({parts.scheme}_proxy; no_proxy={parts.hostname} reaches it without)"


def past_proxies(hosts: Iterable[str], environment: Mapping[str, str]) -> dict[str, str]:
    """The variables by which programs reach some hosts past any proxy, besides those that the environment names already."""
    named = [name for variable in VARIABLES for name in environment.get(variable, "").split(",") if name.strip()]
    joined = ",".join(dict.fromkeys([*(name.strip() for name in named), *hosts]))
    return dict.fromkeys(VARIABLES, joined)
