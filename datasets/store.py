"""Folders and S3 buckets, as one small key-value store. The only code that speaks to either."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from datasets.errors import DataError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class Store(Protocol):
    """Objects under one URL. Keys are relative, with forward slashes. Writes are atomic: whole or not at all."""

    url: str

    def get(self, key: str) -> bytes:
        """The whole object.

        Raises:
            DataError: when it is missing or cannot be read.
        """
        ...

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """``length`` bytes from ``start``."""
        ...

    def put(self, key: str, content: bytes) -> None:
        """Write a small object."""
        ...

    def put_file(self, key: str, path: Path) -> None:
        """Write a file, in parts where it is large."""
        ...

    def exists(self, key: str) -> bool:
        """Whether the object is there."""
        ...

    def keys(self, prefix: str = "") -> list[str]:
        """All keys that start with ``prefix``, sorted."""
        ...

    def delete(self, key: str) -> None:
        """Remove the object, if it is there."""
        ...


def open_store(url: str, create: bool = False) -> Store:
    """The store at ``s3://bucket/prefix`` or at a folder.

    Args:
        create: make the folder or the bucket when it is missing.

    Raises:
        DataError: on a malformed URL, a missing bucket, wrong keys or a server that does not answer.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return FolderStore(Path(url).expanduser(), create)
    if scheme == "file":
        return FolderStore(Path(rest), create)
    if scheme != "s3":
        raise DataError(f"{url}: unknown kind of store {scheme!r}; use s3://bucket/prefix or a folder")
    bucket, _, prefix = rest.partition("/")
    if len(bucket) < 3:
        raise DataError(f"{url}: {bucket!r} is not a bucket name (at least 3 letters); use s3://bucket/prefix")
    return S3Store(bucket, prefix.strip("/"), create)


class FolderStore:
    """Files under a folder."""

    def __init__(self, root: Path, create: bool = False) -> None:
        self.root = root
        self.url = str(root)
        if create:
            with self._explained(""):
                root.mkdir(parents=True, exist_ok=True)

    def get(self, key: str) -> bytes:
        with self._explained(key):
            return (self.root / key).read_bytes()

    def get_range(self, key: str, start: int, length: int) -> bytes:
        with self._explained(key), (self.root / key).open("rb") as file:
            file.seek(start)
            content = file.read(length)
        if len(content) != length:
            raise DataError(f"{self.root / key}: ends {length - len(content)} bytes early; pack or copy it again")
        return content

    def put(self, key: str, content: bytes) -> None:
        with self._replacing(key) as temporary:
            temporary.write_bytes(content)

    def put_file(self, key: str, path: Path) -> None:
        with self._replacing(key) as temporary:
            shutil.copyfile(path, temporary)

    def exists(self, key: str) -> bool:
        return (self.root / key).is_file()

    def keys(self, prefix: str = "") -> list[str]:
        folder = self.root / prefix.rpartition("/")[0]
        names = (p.relative_to(self.root).as_posix() for p in folder.rglob("*") if p.is_file() and p.suffix != ".partial")
        return sorted(name for name in names if name.startswith(prefix))

    def delete(self, key: str) -> None:
        path = self.root / key
        with self._explained(key):
            path.unlink(missing_ok=True)
            if path.parent != self.root and path.parent.is_dir() and not any(path.parent.iterdir()):
                path.parent.rmdir()

    @contextmanager
    def _replacing(self, key: str) -> Iterator[Path]:
        """A temporary file beside the target that takes its name when it is whole."""
        target = self.root / key
        with self._explained(key):
            target.parent.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=target.parent, suffix=".partial")
            os.close(descriptor)
            temporary = Path(name)
            try:
                yield temporary
                temporary.chmod(0o644)
                temporary.replace(target)
            finally:
                temporary.unlink(missing_ok=True)

    @contextmanager
    def _explained(self, key: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise DataError(f"{self.root / key}: no such file") from None
        except OSError as error:
            raise DataError(f"{self.root / key}: {error.strerror or error}") from error


class S3Store:
    """Objects under a prefix of a bucket; endpoint, region and keys from the standard AWS environment variables."""

    def __init__(self, bucket: str, prefix: str, create: bool = False) -> None:
        self.bucket = bucket
        self.prefix = f"{prefix}/" if prefix else ""
        self.url = f"s3://{bucket}/{prefix}".rstrip("/")
        if create and not self._bucket_exists():
            with self._explained(""):
                self._client.create_bucket(Bucket=bucket)

    @cached_property
    def _client(self) -> S3Client:
        import boto3
        from botocore.config import Config

        # at INFO, which Ray sets for its workers, botocore tells in every process where it found its keys
        logging.getLogger("botocore").setLevel(logging.WARNING)
        settings = Config(
            retries={"mode": "standard", "max_attempts": 5},
            connect_timeout=5,
            read_timeout=30,
            max_pool_connections=32,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        # a session of its own: the default one keeps the first keys it saw
        return boto3.Session().client("s3", config=settings, region_name=os.environ.get("AWS_DEFAULT_REGION", "us-east-1"))

    def __reduce__(self) -> tuple[type[S3Store], tuple[str, str]]:
        return S3Store, (self.bucket, self.prefix.rstrip("/"))

    def get(self, key: str) -> bytes:
        with self._explained(key):
            return self._client.get_object(Bucket=self.bucket, Key=self.prefix + key)["Body"].read()

    def get_range(self, key: str, start: int, length: int) -> bytes:
        with self._explained(key):
            content_range = f"bytes={start}-{start + length - 1}"
            body = self._client.get_object(Bucket=self.bucket, Key=self.prefix + key, Range=content_range)["Body"].read()
        if len(body) != length:
            raise DataError(f"{self.url}/{key}: ends {length - len(body)} bytes early; pack or copy it again")
        return body

    def put(self, key: str, content: bytes) -> None:
        with self._explained(key):
            self._client.put_object(Bucket=self.bucket, Key=self.prefix + key, Body=content)

    def put_file(self, key: str, path: Path) -> None:
        with self._explained(key):
            self._client.upload_file(str(path), self.bucket, self.prefix + key)

    def exists(self, key: str) -> bool:
        return (self.prefix + key) in self._list(self.prefix + key)

    def keys(self, prefix: str = "") -> list[str]:
        return [key.removeprefix(self.prefix) for key in self._list(self.prefix + prefix)]

    def delete(self, key: str) -> None:
        with self._explained(key):
            self._client.delete_object(Bucket=self.bucket, Key=self.prefix + key)

    def _list(self, prefix: str) -> list[str]:
        with self._explained(""):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
            return sorted(item["Key"] for page in pages for item in page.get("Contents", []))

    def _bucket_exists(self) -> bool:
        from botocore.exceptions import ClientError

        try:
            with self._explained(""):
                self._client.head_bucket(Bucket=self.bucket)
        except DataError as error:
            cause = error.__cause__
            if isinstance(cause, ClientError) and cause.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return False
            raise
        return True

    @contextmanager
    def _explained(self, key: str) -> Iterator[None]:
        """Turn boto3's errors into one that names bucket, key, cause and remedy."""
        from boto3.exceptions import S3UploadFailedError
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

        where = f"{self.url}/{key}" if key else self.url
        try:
            yield
        except ClientError as error:
            code = error.response["Error"].get("Code", "")
            raise DataError(f"{where}: {_cause(code, self.bucket)}") from error
        except NoCredentialsError as error:
            raise DataError(
                f"{where}: there are no keys for S3: `unbraid local up` starts a server of your own, or set "
                "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, for another server than Amazon's, AWS_ENDPOINT_URL"
            ) from error
        except (BotoCoreError, S3UploadFailedError) as error:
            endpoint = os.environ.get("AWS_ENDPOINT_URL", "AWS")
            raise DataError(f"{where}: S3 at {endpoint} did not serve it ({type(error).__name__}: {error})") from error


def _cause(code: str, bucket: str) -> str:
    if code == "NoSuchBucket":
        return f"there is no bucket {bucket!r}; create it, or correct the URL"
    if code in ("NoSuchKey", "404"):
        return "no such object; pack the data set there first, or correct the URL"
    if code in ("InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "403"):
        return f"S3 refused the keys ({code}); check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL"
    if code in ("ExpiredToken", "RequestExpired"):
        return f"the credentials have expired ({code}); renew them and repeat the command"
    return f"S3 answered {code}"
