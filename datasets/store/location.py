"""Reads the URL of a store, and says what to write in place of one that names no store."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from unbraid.datasets.errors import DataError
from unbraid.datasets.passwords import NO_PASSWORDS, has_password

USAGE = "use s3://bucket/prefix or a folder"
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,254}")
_SCHEMES = r"s3[an]?|gs|gcs|r2|az|abfss?|wasbs?|hdfs|https?|ftp"
_MISSPELT = re.compile(rf"(?:.*/)?(?P<scheme>{_SCHEMES}):(?P<rest>.*)", re.IGNORECASE)
"""A folder's path with a part such as ``s3:``, which a URL with too few slashes becomes when it is made absolute."""
_AMAZON = re.compile(r"(?:(?P<bucket>[^/]+)\.)?s3(?:[.-](?P<region>[a-z0-9-]+))?\.amazonaws\.com(?:\.cn)?")
_GOOGLE = "storage.googleapis.com"


class Bucket(NamedTuple):
    """A prefix of a bucket of S3."""

    name: str
    prefix: str


def parse_location(url: str) -> Path | Bucket:
    """Return the folder or the bucket that a URL names.

    Raises:
        DataError: when it names neither; the message says what to write.
    """
    if has_password(url):
        raise DataError(f"{url}: {NO_PASSWORDS}")
    scheme, separator, rest = url.partition("://")
    if not separator:
        misspelt = _MISSPELT.fullmatch(url)
        if misspelt:
            raise DataError(f"{url}: {_suggestion(misspelt['scheme'].lower(), misspelt['rest'].lstrip('/'))}")
        return Path(url).expanduser()
    if scheme == "file":
        return Path(rest)
    if scheme != "s3":
        raise DataError(f"{url}: unknown kind of store {scheme!r}; {_suggestion(scheme.lower(), rest)}")
    name, _, prefix = rest.partition("/")
    if not _BUCKET.fullmatch(name):
        raise DataError(f"{url}: {name!r} is not a bucket name (at least 3 letters, digits, dots, hyphens); {USAGE}")
    return Bucket(name, prefix.strip("/"))


def _suggestion(scheme: str, rest: str) -> str:
    """Say what to write for a place that is named in another way."""
    host, _, path = rest.partition("/")
    if scheme in ("s3", "s3a", "s3n"):
        return f"write s3://{rest}"
    if scheme in ("gs", "gcs"):
        return f"write s3://{rest}, with AWS_ENDPOINT_URL=https://{_GOOGLE} and an HMAC key of Google's; {USAGE}"
    if scheme == "r2":
        return f"write s3://{rest}, with AWS_ENDPOINT_URL=https://ACCOUNT.r2.cloudflarestorage.com; {USAGE}"
    if scheme in ("http", "https"):
        amazon = _AMAZON.fullmatch(host)
        if amazon:
            region = f", with AWS_REGION={amazon['region']}" if amazon["region"] else ""
            return f"write s3://{'/'.join(part for part in (amazon['bucket'], path) if part)}{region}"
        return f"write s3://{path or 'bucket/prefix'}, with AWS_ENDPOINT_URL={scheme}://{host}"
    return USAGE
