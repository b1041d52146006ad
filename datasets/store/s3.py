"""Stores objects in an S3 bucket. A read whose connection breaks continues at the byte where it stopped."""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from unbraid.datasets.errors import DataError
from unbraid.datasets.store.protocol import LARGEST_GET, StoreStatistics, require_size
from unbraid.datasets.store.retry import Backoff, default_backoff

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CONNECT_SECONDS = 5.0
READ_SECONDS = 20.0
"""A request is repeated when the server sends nothing for so long."""
WRITE_ATTEMPTS = 5
TRANSIENT_CODES = frozenset(
    {"SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "Throttling", "ThrottlingException", "503", "500"}
)
Result = TypeVar("Result")


class S3Store:
    """Objects under a prefix of a bucket; endpoint, region and keys from the standard AWS environment variables.

    Args:
        create: create the bucket when it is missing.
        backoff: default :func:`unbraid.datasets.store.retry.default_backoff`.
    """

    def __init__(self, bucket: str, prefix: str, create: bool = False, backoff: Backoff | None = None) -> None:
        self.bucket = bucket
        self.prefix = f"{prefix}/" if prefix else ""
        self.url = f"s3://{bucket}/{prefix}".rstrip("/")
        self.statistics = StoreStatistics()
        self.backoff = backoff or default_backoff()
        self._opening = threading.Lock()
        self._closed = threading.Event()
        if create and not self._bucket_exists():
            with self._explained(""):
                self._uploads.create_bucket(Bucket=bucket)

    @cached_property
    def _requests(self) -> S3Client:
        """A client for single requests, which does not repeat any: this class counts and repeats them itself."""
        return _client(attempts=1)

    @cached_property
    def _uploads(self) -> S3Client:
        """A client for uploads, which repeats single parts by itself; an upload that is not completed does not exist."""
        return _client(WRITE_ATTEMPTS)

    def __reduce__(self) -> tuple[type[S3Store], tuple[str, str]]:
        return S3Store, (self.bucket, self.prefix.rstrip("/"))

    def get(self, key: str, limit: int = LARGEST_GET) -> bytes:
        return bytes(self._download(key, 0, None, limit))

    def get_range(self, key: str, start: int, length: int) -> memoryview:
        return self._download(key, start, length)

    def put(self, key: str, content: bytes) -> None:
        self._repeated(key, lambda client: client.put_object(Bucket=self.bucket, Key=self.prefix + key, Body=content))

    def put_new(self, key: str, content: bytes) -> bool:
        def put(client: S3Client) -> bool:
            try:
                client.put_object(Bucket=self.bucket, Key=self.prefix + key, Body=content, IfNoneMatch="*")
            except client.exceptions.ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] not in (409, 412):
                    raise
                return False
            return True

        # an earlier attempt of this call may have been written although its answer was lost
        return self._repeated(key, put) or self.get(key) == content

    def put_file(self, key: str, path: Path) -> None:
        self._repeated(key, lambda client: client.upload_file(str(path), self.bucket, self.prefix + key), self._uploads)

    def exists(self, key: str) -> bool:
        return (self.prefix + key) in self._list(self.prefix + key)

    def keys(self, prefix: str = "") -> list[str]:
        return [key.removeprefix(self.prefix) for key in self._list(self.prefix + prefix)]

    def delete(self, key: str) -> None:
        self._repeated(key, lambda client: client.delete_object(Bucket=self.bucket, Key=self.prefix + key))

    def close(self) -> None:
        self._closed.set()

    def _download(self, key: str, start: int, length: int | None, limit: int = LARGEST_GET) -> memoryview:
        """Read ``length`` bytes from ``start``, or the whole object; after a failure only the missing bytes are requested."""
        buffer = bytearray()
        got, etag = 0, None
        failures, since = 0, time.monotonic()
        while True:
            before = got
            try:
                with self._single() as client:
                    arguments = self._range_arguments(start + got, None if length is None else length - got, etag)
                    answer = client.get_object(Bucket=self.bucket, Key=self.prefix + key, **arguments)
                    sent, etag = answer["ContentLength"], answer["ETag"]
                    if length is None:
                        require_size(f"{self.url}/{key}", sent, limit)
                        length = sent
                    if sent < length - got:
                        raise DataError(f"{self.url}/{key}: ends {length - got - sent} bytes early; pack or copy it again")
                    if not got:
                        buffer = bytearray(length)
                    view = memoryview(buffer)
                    while got < length:
                        count = answer["Body"].readinto(view[got:])  # type: ignore[arg-type]  # its stub asks for a file
                        if count == 0:
                            raise ConnectionError(f"the connection ended {length - got} bytes early")
                        got += count
                self.statistics.received(got - before)
                return memoryview(buffer)
            except DataError:
                raise
            except Exception as error:
                self.statistics.received(got - before)
                if got > before:
                    failures, since = 0, time.monotonic()
                failures += 1
                self._pause_or_raise(error, key, failures, since)

    @staticmethod
    def _range_arguments(start: int, length: int | None, etag: str | None) -> dict[str, Any]:
        arguments: dict[str, Any] = {}
        if start or length is not None:
            arguments["Range"] = f"bytes={start}-" if length is None else f"bytes={start}-{start + length - 1}"
        if etag is not None:
            arguments["IfMatch"] = etag  # the rest of the same object, not of one that has replaced it
        return arguments

    @contextmanager
    def _single(self) -> Iterator[S3Client]:
        """Yield the client for single requests."""
        with self._opening:  # making a client is not thread-safe
            client = self._requests
        yield client

    def _repeated(self, key: str, operation: Callable[[S3Client], Result], client: S3Client | None = None) -> Result:
        """Call ``operation`` until it succeeds or the backoff gives up."""
        failures, since = 0, time.monotonic()
        while True:
            try:
                with self._single() as single:
                    return operation(client or single)
            except Exception as error:
                failures += 1
                self._pause_or_raise(error, key, failures, since)

    def _pause_or_raise(self, error: Exception, key: str, failures: int, since: float) -> None:
        """Wait before a request is repeated, or raise when repeating it cannot help."""
        cause = transient_cause(error)
        seconds = time.monotonic() - since
        if cause is None or self.backoff.gives_up(failures, seconds) or self._closed.is_set():
            with self._explained(key, failures):
                raise error
        self.statistics.retried(cause)
        # unseeded on purpose: the jitter must differ between ranks, and no result depends on it
        self._closed.wait(self.backoff.pause(failures, random.random()))

    def _list(self, prefix: str) -> list[str]:
        def listing(client: S3Client) -> list[str]:
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
            return sorted(item["Key"] for page in pages for item in page.get("Contents", []))

        return self._repeated("", listing)

    def _bucket_exists(self) -> bool:
        from botocore.exceptions import ClientError

        try:
            self._repeated("", lambda client: client.head_bucket(Bucket=self.bucket))
        except DataError as error:
            cause = error.__cause__
            if isinstance(cause, ClientError) and cause.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return False
            raise
        return True

    @contextmanager
    def _explained(self, key: str, attempts: int = 1) -> Iterator[None]:
        """Turn boto3's errors into one that names bucket, key, cause and remedy."""
        from boto3.exceptions import S3UploadFailedError
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
        from urllib3.exceptions import HTTPError

        where = f"{self.url}/{key}" if key else self.url
        try:
            yield
        except ClientError as error:
            code = error.response["Error"].get("Code", "")
            raise DataError(f"{where}: {_cause(code, self.bucket)}{_in_a_row(attempts)}") from error
        except NoCredentialsError as error:
            raise DataError(
                f"{where}: there are no keys for S3: start a server of your own with `unbraid local up`, or set "
                "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, for another server than Amazon's, AWS_ENDPOINT_URL"
            ) from error
        except (BotoCoreError, S3UploadFailedError, HTTPError, HTTPException, OSError) as error:
            endpoint = os.environ.get("AWS_ENDPOINT_URL", "AWS")
            raise DataError(
                f"{where}: S3 at {endpoint} did not serve it ({type(error).__name__}: {error}){_in_a_row(attempts)}"
            ) from error


def transient_cause(error: Exception) -> str | None:
    """Return in one word why a transfer failed, where repeating it may help; None where it cannot."""
    from boto3.exceptions import S3UploadFailedError
    from botocore import exceptions
    from botocore.parsers import ResponseParserError
    from urllib3.exceptions import HTTPError

    if isinstance(error, S3UploadFailedError):  # boto3 keeps the cause as this one's context
        return transient_cause(error.__context__) if isinstance(error.__context__, Exception) else None
    if isinstance(error, exceptions.ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = str(error.response["Error"].get("Code", ""))
        return code or str(status) if status >= 500 or status == 429 or code in TRANSIENT_CODES else None
    timeouts = (exceptions.ReadTimeoutError, exceptions.ConnectTimeoutError, TimeoutError)
    if isinstance(error, timeouts):
        return "Timeout"
    broken = (exceptions.HTTPClientError, exceptions.ResponseStreamingError, exceptions.IncompleteReadError)
    if isinstance(error, (*broken, ResponseParserError, HTTPError, HTTPException, OSError)):
        return "ConnectionBroken"
    return None


def _client(attempts: int) -> S3Client:
    import boto3
    from botocore.config import Config

    # at INFO, which Ray sets for its workers, botocore logs in every process where it found its keys
    logging.getLogger("botocore").setLevel(logging.WARNING)
    settings = Config(
        # total_max_attempts counts the first one and is not overridden by the environment
        retries={"mode": "standard", "total_max_attempts": attempts},
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        max_pool_connections=32,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    # a session of its own: the default one keeps the first keys it saw
    return boto3.Session().client("s3", config=settings, region_name=os.environ.get("AWS_DEFAULT_REGION", "us-east-1"))


def _in_a_row(attempts: int) -> str:
    return f", {attempts} times in a row" if attempts > 1 else ""


def _cause(code: str, bucket: str) -> str:
    if code == "NoSuchBucket":
        return f"there is no bucket {bucket!r}; create it, or correct the URL"
    if code in ("NoSuchKey", "404"):
        return "no such object; pack the data set there first, or correct the URL"
    if code in ("InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "403"):
        return f"S3 refused the keys ({code}); check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL"
    if code in ("ExpiredToken", "RequestExpired"):
        return f"the credentials have expired ({code}); renew them and repeat the command"
    if code in ("InvalidRange", "416"):
        return "is shorter than its index says; pack or copy it again"
    if code in ("PreconditionFailed", "412"):
        return "was replaced while it was read; repeat the command"
    return f"S3 answered {code}"
