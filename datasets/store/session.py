"""How S3 is reached: endpoint, region, keys and retries as boto3's session resolves them, and where each was set."""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from unbraid.datasets.errors import DataError
from unbraid.datasets.store.proxies import proxy_note
from unbraid.datasets.untrusted.text import in_one_line

if TYPE_CHECKING:
    from boto3.session import Session as Boto3Session
    from botocore.session import Session
    from mypy_boto3_s3 import S3Client

DEFAULT_REGION = "us-east-1"
DEFAULT_ATTEMPTS = 8
REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
"""In the order of all newer SDKs; boto3 alone reads only the second."""
ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_LABEL = re.compile(r"(?![0-9]+$)(?!-)[A-Za-z0-9-]{1,63}(?<!-)")


@dataclass(frozen=True)
class Connection:
    """What requests to S3 are made with.

    Attributes:
        endpoint, region: what is used.
        endpoint_origin, region_origin: the variable or the profile that says so, or "default".
        attempts: at a request, in a row, before it is an error.
    """

    endpoint: str
    endpoint_origin: str
    region: str
    region_origin: str
    attempts: int
    _session: Boto3Session

    def __str__(self) -> str:
        origin = f"{self.endpoint} ({self.endpoint_origin}){proxy_note(self.endpoint)}"
        return f"{origin}, region {self.region} ({self.region_origin})"

    def client(self, attempts: int, connect_seconds: float, read_seconds: float) -> S3Client:
        """Make a client. Making one is not thread-safe.

        Args:
            attempts: at a request, the first one included.
        """
        return _client(self._session, self.region, attempts, connect_timeout=connect_seconds, read_timeout=read_seconds)


def connect() -> Connection:
    """Resolve the settings of this process.

    The session is new each time: boto3's default one keeps the first keys that it saw.

    Raises:
        DataError: naming the variable or profile whose value cannot be used.
    """
    import boto3
    import botocore.session
    from botocore.exceptions import BotoCoreError

    # at INFO, which Ray sets for its workers, botocore logs in every process where it found its keys
    logging.getLogger("botocore").setLevel(logging.WARNING)
    _require_both_keys()
    session = botocore.session.Session()
    try:
        settings = session.get_scoped_config()
        profile = f"profile {session.get_config_variable('profile') or 'default'}"
        region, region_origin = _region(settings, profile)
        endpoint, endpoint_origin = _endpoint(session, profile)
        attempts = _attempts(session, profile)
        boto3_session = boto3.Session(botocore_session=session)
        endpoint = endpoint or _client(boto3_session, region).meta.endpoint_url
    except (BotoCoreError, ValueError) as error:
        raise DataError(f"S3: {_explained(error, session.available_profiles)}") from error
    return Connection(endpoint, endpoint_origin, region, region_origin, attempts, boto3_session)


def _client(session: Boto3Session, region: str, attempts: int = 1, **settings: Any) -> S3Client:
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    config = Config(
        # total_max_attempts counts the first one and is not overridden by the environment
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=32,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        **settings,
    )
    try:
        return session.client("s3", config=config, region_name=region)
    except (BotoCoreError, ValueError) as error:
        raise DataError(f"S3: {_explained(error, session.available_profiles)}") from error


def _require_both_keys() -> None:
    missing = [name for name in KEYS if not os.environ.get(name)]
    if len(missing) == 1:
        (there,) = set(KEYS) - set(missing)
        raise DataError(f"S3: {there} is set and {missing[0]} is not: set both, or neither to use a profile's keys")


def _region(settings: dict[str, Any], profile: str) -> tuple[str, str]:
    """Return the region and where it was set."""
    found = [(os.environ[name], name) for name in REGIONS if os.environ.get(name)]
    found += [(str(settings["region"]), profile)] if settings.get("region") else []
    region, origin = (*found, (DEFAULT_REGION, "default"))[0]
    if not _LABEL.fullmatch(region):
        raise DataError(f"S3: {origin}: {region!r} is not the name of a region; {DEFAULT_REGION} and eu-west-1 are such names")
    return region, origin


def _endpoint(session: Session, profile: str) -> tuple[str, str]:
    """Return the endpoint that was set, "" when it is Amazon's, and where it was set; the order is botocore's."""
    if session.get_config_variable("ignore_configured_endpoint_urls"):
        return "", "default"
    settings = session.get_scoped_config()
    of_services = session.full_config.get("services", {}).get(settings.get("services"), {})
    of_s3 = of_services.get("s3", {})
    found = [(os.environ.get(name), name) for name in ENDPOINTS]
    found.append((of_s3.get("endpoint_url"), f"{profile}, services {settings.get('services')}"))
    found.append((settings.get("endpoint_url"), profile))
    for endpoint, origin in found:
        if endpoint:
            return require_endpoint(endpoint, origin), origin
    return "", "default"


def require_endpoint(endpoint: str, origin: str) -> str:
    """Return an endpoint as it is; one with a path is an endpoint too, because some gateways have one.

    Args:
        origin: the variable or profile that names it.

    Raises:
        DataError: when it is not the URL of a server.
    """
    scheme, separator, rest = endpoint.strip().partition("://")
    if not separator:
        host = re.sub(r"^[A-Za-z][A-Za-z0-9+.-]*:/+", "", endpoint.strip())  # http:/host
        local = re.match(r"(localhost|127\.|\[?::1|10\.|192\.168\.)|.*:\d+(/|$)", host)
        raise _endpoint_error(endpoint, origin, "has no scheme", f"{'http' if local else 'https'}://{host}")
    if endpoint != "".join(endpoint.split()):
        raise _endpoint_error(endpoint, origin, "has white space in it", "".join(endpoint.split()))
    if scheme.lower() not in ("http", "https"):
        raise _endpoint_error(endpoint, origin, f"has the scheme {scheme!r}", f"https://{rest}")
    try:
        parts = urlsplit(endpoint)
        named = parts.hostname and (parts.port or True)
    except ValueError as error:
        raise _endpoint_error(endpoint, origin, str(error), "https://s3.example.com:9000") from None
    if not named or parts.query or parts.fragment or not endpoint.isprintable():
        plain = endpoint.partition("?")[0].partition("#")[0] if named else "https://s3.example.com"
        raise _endpoint_error(endpoint, origin, "is not the address of a server", plain)
    return endpoint


def _endpoint_error(endpoint: str, origin: str, problem: str, suggestion: str) -> DataError:
    return DataError(f"S3: {origin}: the endpoint {endpoint!r} {problem}; did you mean {suggestion}?")


def _attempts(session: Session, profile: str) -> int:
    """Return ``AWS_MAX_ATTEMPTS``, as for every AWS client, or the profile's ``max_attempts``, or else 8."""
    value = os.environ.get("AWS_MAX_ATTEMPTS", session.get_scoped_config().get("max_attempts", DEFAULT_ATTEMPTS))
    try:
        return max(1, int(value))
    except ValueError:
        origin = "AWS_MAX_ATTEMPTS" if "AWS_MAX_ATTEMPTS" in os.environ else f"max_attempts of {profile}"
        raise DataError(f"S3: {origin}: {value!r} is not a number of attempts, such as {DEFAULT_ATTEMPTS}") from None


def _explained(error: Exception, profiles: list[str]) -> str:
    """Say what is wrong with the settings."""
    from botocore import exceptions

    if isinstance(error, exceptions.ProfileNotFound):
        variable = next((name for name in ("AWS_DEFAULT_PROFILE", "AWS_PROFILE") if os.environ.get(name)), "AWS_PROFILE")
        there = ", ".join(profiles) or "none"
        return f"{variable}: no profile {os.environ.get(variable)!r} in ~/.aws/config or ~/.aws/credentials (there: {there})"
    if isinstance(error, exceptions.PartialCredentialsError):
        return f"half a pair of keys ({in_one_line(error)}): set access key and secret key together"
    return f"its settings cannot be used: {in_one_line(error)}"
