"""Stores objects in an S3 bucket. A read whose connection breaks continues at the byte where it stopped.

No request is a HEAD: the answer to one has no body, and so hides why it was refused.
"""

from __future__ import annotations

import os
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from unbraid.datasets.errors import DataError
from unbraid.datasets.store.protocol import (
    LARGEST_GET,
    AbsentError,
    RefusedError,
    StoreStatistics,
    UnconditionalError,
    require_size,
)
from unbraid.datasets.store.refusals import (
    UNREACHABLE,
    UnexpectedAnswerError,
    has_no_conditions,
    is_absence,
    not_s3,
    refusal,
    refuse_page,
    require_s3,
    tls_problem,
    transient_cause,
)
from unbraid.datasets.store.retry import Backoff, default_backoff
from unbraid.datasets.store.session import DEFAULT_REGION, Connection, connect
from unbraid.datasets.store.tidying import discard
from unbraid.datasets.untrusted.text import in_one_line

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CopySourceTypeDef

CONNECT_SECONDS = 5.0
READ_SECONDS = 20.0
"""A request is repeated when the server sends nothing for so long."""
WRITE_ATTEMPTS = 5
LARGEST_SINGLE_PUT = 64 << 20
"""Bytes of a file that one request uploads, which S3 acknowledges with an ETag."""
WITHOUT_CONSTRAINT = (DEFAULT_REGION, "auto")
"""Regions in which a bucket is created without naming them: Amazon refuses the first as a name, the second is Cloudflare's."""
Result = TypeVar("Result")


class S3Store:
    """Objects under a prefix of a bucket; endpoint, region, keys and retries as boto3's session resolves them.

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
        self._conditional: bool | None = None
        if create and not self._bucket_exists():
            self._create_bucket()

    @cached_property
    def _connection(self) -> Connection:
        return connect()

    @cached_property
    def _requests(self) -> S3Client:
        """A client for single requests, which does not repeat any: this class counts and repeats them itself."""
        return self._client(1)

    @cached_property
    def _uploads(self) -> S3Client:
        """A client for uploads, which repeats single parts by itself; an upload that is not completed does not exist."""
        return self._client(WRITE_ATTEMPTS)

    def _client(self, attempts: int) -> S3Client:
        client = self._connection.client(attempts, CONNECT_SECONDS, READ_SECONDS)
        client.meta.events.register("before-parse.*.*", refuse_page)  # by this name it comes before boto3's own handler
        return client

    def __reduce__(self) -> tuple[type[S3Store], tuple[str, str]]:
        return S3Store, (self.bucket, self.prefix.rstrip("/"))

    def get(self, key: str, limit: int = LARGEST_GET) -> bytes:
        return bytes(self._download(key, 0, None, limit))

    def get_range(self, key: str, start: int, length: int) -> memoryview:
        return self._download(key, start, length)

    def put(self, key: str, content: bytes) -> None:
        def put(client: S3Client) -> None:
            require_s3(client.put_object(Bucket=self.bucket, Key=self.prefix + key, Body=content), "ETag")

        self._repeated("PutObject", key, put)

    def put_new(self, key: str, content: bytes) -> bool:
        if self._conditional is None:
            self._conditional = self._try_conditions(f"{key.rpartition('/')[0]}/probe-{uuid.uuid4().hex}".lstrip("/"))
        if not self._conditional:
            text = "this store has no conditional writes: If-None-Match is ignored, or not implemented"
            self._fail(text, "PutObject", key, kind=UnconditionalError)
        # an earlier attempt of this call may have been written although its answer was lost
        return self._put_absent(key, content) or self.get(key) == content

    def put_file(self, key: str, path: Path) -> None:
        try:
            file = path.open("rb")
        except OSError as error:
            raise DataError(f"{path}: {error.strerror}; it was to be stored in {self.url}") from error
        with file:
            size = os.fstat(file.fileno()).st_size
            if size > LARGEST_SINGLE_PUT:
                self._put_large_file(key, path, size)
                return

            def put(client: S3Client) -> None:
                file.seek(0)
                require_s3(client.put_object(Bucket=self.bucket, Key=self.prefix + key, Body=file), "ETag")

            self._repeated("PutObject", key, put)

    def move(self, key: str, to: str) -> None:
        source: CopySourceTypeDef = {"Bucket": self.bucket, "Key": self.prefix + key}

        def copy(client: S3Client) -> None:
            answer = client.copy_object(Bucket=self.bucket, Key=self.prefix + to, CopySource=source)
            require_s3(answer, "CopyObjectResult")

        self._repeated("CopyObject", key, copy)
        self.delete(key)

    def exists(self, key: str) -> bool:
        return key in self.sizes(key)

    def keys(self, prefix: str = "") -> list[str]:
        return sorted(self.sizes(prefix))

    def sizes(self, prefix: str = "") -> dict[str, int]:
        def listing(client: S3Client) -> dict[str, int]:
            found: dict[str, int] = {}
            for page in client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix + prefix):
                require_s3(page, "Name", "KeyCount", "IsTruncated")
                found |= {item["Key"].removeprefix(self.prefix): item["Size"] for item in page.get("Contents", [])}
            return found

        return self._repeated("ListObjectsV2", "", listing)

    def delete(self, key: str) -> None:
        def delete(client: S3Client) -> None:
            require_s3(client.delete_object(Bucket=self.bucket, Key=self.prefix + key))

        self._repeated("DeleteObject", key, delete)

    def close(self) -> None:
        self._closed.set()

    def _put_large_file(self, key: str, path: Path, size: int) -> None:
        """Upload a file in parts, and check the size that the store lists: boto3 does not return what S3 answers."""
        self._repeated(
            "PutObject", key, lambda client: client.upload_file(str(path), self.bucket, self.prefix + key), self._uploads
        )
        stored = self.sizes(key).get(key)
        if stored != size:
            found = "nothing" if stored is None else f"{stored:,} bytes"
            self._fail(f"{size:,} bytes were written, {found} are stored; repeat the command", "PutObject", key)

    def _put_absent(self, key: str, content: bytes) -> bool:
        """Write an object unless it exists, and return whether this was done."""
        from botocore.exceptions import ClientError

        def put(client: S3Client) -> bool:
            try:
                answer = client.put_object(Bucket=self.bucket, Key=self.prefix + key, Body=content, IfNoneMatch="*")
            except ClientError as error:
                status = error.response["ResponseMetadata"]["HTTPStatusCode"]
                if status == 412 or (status == 409 and transient_cause(error) is None):
                    return False
                raise
            require_s3(answer, "ETag")
            return True

        return self._repeated("PutObject", key, put)

    def _try_conditions(self, key: str) -> bool:
        """Return whether the server has conditional writes: the second one to a name must be refused."""
        from botocore.exceptions import ClientError

        try:
            honoured = not (self._put_absent(key, b"") and self._put_absent(key, b""))
        except DataError as error:
            if isinstance(error.__cause__, ClientError) and has_no_conditions(error.__cause__):
                return False
            raise
        discard(self, [key])
        return honoured

    def _download(self, key: str, start: int, length: int | None, limit: int = LARGEST_GET) -> memoryview:
        """Read ``length`` bytes from ``start``, or the whole object; after a failure only the missing bytes are requested."""
        buffer = bytearray()
        got, etag = 0, None
        failures, since = 0, time.monotonic()
        while True:
            before = got
            try:
                with self._single() as client:
                    arguments = _range_arguments(start + got, None if length is None else length - got, etag)
                    answer = client.get_object(Bucket=self.bucket, Key=self.prefix + key, **arguments)
                    _require_content(answer, "Range" in arguments)
                    sent, etag = answer["ContentLength"], answer["ETag"]
                    if length is None:
                        require_size(f"{self.url}/{key}", sent, limit)
                        length = sent
                    if sent < length - got:
                        self._fail(f"ends {length - got - sent} bytes early; pack or copy it again", "GetObject", key)
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
                self._pause_or_raise(error, "GetObject", key, failures, since)

    @contextmanager
    def _single(self) -> Iterator[S3Client]:
        """Yield the client for single requests."""
        with self._opening:  # making a client is not thread-safe
            client = self._requests
        yield client

    def _repeated(
        self, operation: str, key: str, function: Callable[[S3Client], Result], client: S3Client | None = None
    ) -> Result:
        """Call ``function`` until it succeeds or the backoff gives up."""
        failures, since = 0, time.monotonic()
        while True:
            try:
                with self._single() as single:
                    return function(client or single)
            except Exception as error:
                failures += 1
                self._pause_or_raise(error, operation, key, failures, since)

    def _pause_or_raise(self, error: Exception, operation: str, key: str, failures: int, since: float) -> None:
        """Wait before a request is repeated, or raise when repeating it cannot help."""
        cause = transient_cause(error)
        seconds = time.monotonic() - since
        is_wrong = cause == UNREACHABLE and not self.backoff.retry_seconds  # nobody waits for a server that is not there
        if cause is None or is_wrong or self._gives_up(failures, seconds) or self._closed.is_set():
            self._explain(error, operation, key, failures)
        self.statistics.retried(cause)
        # unseeded on purpose: the jitter must differ between ranks, and no result depends on it
        self._closed.wait(self.backoff.pause(failures, random.random()))

    def _gives_up(self, failures: int, seconds: float) -> bool:
        return replace(self.backoff, attempts=self.backoff.attempts or self._connection.attempts).gives_up(failures, seconds)

    def _bucket_exists(self) -> bool:
        from botocore.exceptions import ClientError

        def listing(client: S3Client) -> None:
            answer = client.list_objects_v2(Bucket=self.bucket, Prefix=self.prefix, MaxKeys=1)
            require_s3(answer, "Name", "KeyCount", "IsTruncated")

        try:
            self._repeated("ListObjectsV2", "", listing)
        except DataError as error:
            cause = error.__cause__
            if isinstance(cause, ClientError) and cause.response["Error"].get("Code") == "NoSuchBucket":
                return False
            raise
        return True

    def _create_bucket(self) -> None:
        """Create the bucket, in the region that was asked for."""
        region = self._connection.region
        arguments: dict[str, Any] = {"Bucket": self.bucket}
        if region not in WITHOUT_CONSTRAINT:
            arguments["CreateBucketConfiguration"] = {"LocationConstraint": region}

        def create(client: S3Client) -> None:
            with suppress(client.exceptions.BucketAlreadyOwnedByYou):  # another process of this user was faster
                client.create_bucket(**arguments)

        self._repeated("CreateBucket", "", create)

    def _explain(self, error: Exception, operation: str, key: str, attempts: int) -> NoReturn:
        """Turn an error of boto3 into one that names bucket, key, cause and remedy."""
        from boto3.exceptions import S3UploadFailedError
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
        from urllib3.exceptions import HTTPError

        in_a_row = f", {attempts} times in a row" if attempts > 1 else ""
        if isinstance(error, S3UploadFailedError) and isinstance(error.__context__, ClientError):
            error = error.__context__
        if isinstance(error, ClientError):
            kind = DataError if transient_cause(error) else AbsentError if is_absence(error) else RefusedError
            text = refusal(error, self.bucket, self._connection)
            self._fail(f"{text}{in_a_row}", error.operation_name, key, error, kind)
        if isinstance(error, UnexpectedAnswerError):
            self._fail(str(error), operation, key, error)
        if isinstance(error, NoCredentialsError):
            text = (
                "there are no keys for S3: start a server of your own with `unbraid local up`, or set "
                "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, for another server than Amazon's, AWS_ENDPOINT_URL"
            )
            self._fail(text, operation, key, error)
        if isinstance(error, BotoCoreError | S3UploadFailedError | HTTPError | HTTPException | OSError):
            found = tls_problem(error) or f"{type(error).__name__}: {in_one_line(error)}"
            trouble = "did not serve it" if transient_cause(error) else "could not be asked"
            text = f"S3 at {self._connection.endpoint} {trouble} ({found})"
            self._fail(f"{text}{in_a_row}", operation, key, error)
        raise error

    def _fail(
        self, text: str, operation: str, key: str, cause: Exception | None = None, kind: type[DataError] = DataError
    ) -> NoReturn:
        """Raise an error that names the object, and by what request to which server it was to be reached."""
        where = f"{self.url}/{key}" if key else self.url
        raise kind(f"{where}: {text} [{operation} at {self._connection}]") from cause


def _range_arguments(start: int, length: int | None, etag: str | None) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    if start or length is not None:
        arguments["Range"] = f"bytes={start}-" if length is None else f"bytes={start}-{start + length - 1}"
    if etag is not None:
        arguments["IfMatch"] = etag  # the rest of the same object, not of one that has replaced it
    return arguments


def _require_content(answer: Mapping[str, Any], is_range: bool) -> None:
    """Check that an answer holds an object, and the part of it that was asked for.

    Raises:
        UnexpectedAnswerError: when it does not.
    """
    require_s3(answer, "ETag")
    if "ContentLength" not in answer:
        raise UnexpectedAnswerError(not_s3(answer["ResponseMetadata"]))
    if is_range and "ContentRange" not in answer:
        raise UnexpectedAnswerError(
            "the server answered a request for a part with the whole object: parts of objects must be served (ranged GET); "
            "is there a proxy or a cache that drops the header Range?"
        )
