"""A server that PLAYS an S3 server: it keeps a few objects in memory, and refuses requests as real servers do.

It is not S3 and checks no signature. Each refusal has the status, the XML and the headers that matter of what real servers
send: Amazon's S3 unless it is named MINIO, CEPH or R2. Tests of what works use a real SeaweedFS.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import pytest

from unbraid.datasets.store.retry import Backoff

BUCKET = "played"
HEADER = '<?xml version="1.0" encoding="UTF-8"?>\n'
AMAZON = {"x-amz-request-id": "2J8ZFVZVVRA4T7CF", "x-amz-id-2": "CRaDrKRM91F3Ea6W", "Server": "AmazonS3"}
PAGE = "<!doctype html><html><head><title>MinIO Console</title></head><body><br>Log in<script>a && b</script></body></html>"
WELL_FORMED_PAGE = "<html><head><title>Sign in</title></head><body><form action='/login'><input/></form></body></html>"
Operation = Literal["list", "get", "put", "put-new", "delete", "create"]
EVERYTHING: tuple[Operation, ...] = ("list", "get", "put", "put-new", "delete", "create")


@dataclass(frozen=True)
class Answer:
    """What the server answers in place of doing what it was asked.

    Attributes:
        to: the operations that are answered so; all others work.
        times: so often; None is always.
    """

    status: int
    body: str
    to: tuple[Operation, ...] = EVERYTHING
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/xml", **AMAZON})
    times: int | None = None


def error(status: int, code: str, message: str, *to: Operation, more: str = "", **headers: str) -> Answer:
    """Make the answer of an S3 server that refuses something.

    Args:
        more: further elements of the XML.
        headers: further headers, with underscores for hyphens.
    """
    body = f"{HEADER}<Error><Code>{code}</Code><Message>{escape(message)}</Message>{more}<RequestId>2J8Z</RequestId></Error>"
    further = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, body, to or EVERYTHING, {"Content-Type": "application/xml", **AMAZON, **further})


def page(status: int, body: str = PAGE, *to: Operation, **headers: str) -> Answer:
    """Make the answer of a console, a login page or a proxy."""
    return Answer(status, body, to or EVERYTHING, {"Content-Type": "text/html; charset=utf-8", "Server": "nginx", **headers})


class PlayedS3(ThreadingHTTPServer):
    """Listens on loopback, and serves one bucket.

    Attributes:
        answers: the first one that is for an operation is given.
        objects: what is stored, by key.
        requests: the operations that were asked for, in order.
        honours_conditions: whether ``If-None-Match: *`` is looked at.
        honours_ranges: whether ``Range`` is.
        has_bucket: whether the bucket exists.
    """

    daemon_threads = True

    def __init__(self, *answers: Answer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = list(answers)
        self.objects: dict[str, bytes] = {}
        self.requests: list[tuple[Operation, str]] = []
        self.bodies: list[bytes] = []
        self.honours_conditions = True
        self.honours_ranges = True
        self.has_bucket = True
        self.given: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Pass over clients that have gone, which the standard library prints."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    def may_give(self, answer: Answer) -> bool:
        """Count an answer, and return whether it is given once more."""
        with self.lock:
            self.given[answer.body] += 1
            return answer.times is None or self.given[answer.body] <= answer.times


@contextmanager
def played_s3(*answers: Answer) -> Iterator[PlayedS3]:
    """Run a server until the context ends."""
    server = PlayedS3(*answers)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


Play = Callable[..., PlayedS3]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Play]:
    """Start a played server with these answers; the environment names it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    settings = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_CONFIG_FILE": str(tmp_path / "none")}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("unbraid.datasets.store.s3.default_backoff", lambda: Backoff(attempts=3, first=0.01, longest=0.01))
    with ExitStack() as servers:

        def start(*answers: Answer) -> PlayedS3:
            server = servers.enter_context(played_s3(*answers))
            monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
            return server

        yield start


class _Handler(BaseHTTPRequestHandler):
    """Does what one request asks for, unless the server has another answer."""

    protocol_version = "HTTP/1.1"
    server: PlayedS3

    def handle_one_request(self) -> None:
        self._key = ""
        super().handle_one_request()

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path).lstrip("/")
        self._key = path.partition("/")[2]
        if self._key and not self._play("get"):
            self._get()
        elif not self._key and not self._play("list"):
            self._list()

    def do_PUT(self) -> None:
        self._key = unquote(urlsplit(self.path).path).lstrip("/").partition("/")[2]
        self._content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with self.server.lock:
            self.server.bodies.append(self._content)
        is_new = self.headers.get("If-None-Match") == "*"
        operation: Operation = "create" if not self._key else "put-new" if is_new else "put"
        if self._play(operation):
            return
        if self._key:
            self._put(only_new=is_new and self.server.honours_conditions)
        else:
            self._create()

    def do_DELETE(self) -> None:
        self._key = unquote(urlsplit(self.path).path).lstrip("/").partition("/")[2]
        if not self._play("delete"):
            with self.server.lock:
                self.server.objects.pop(self._key, None)
            self._send(204, b"", AMAZON)

    def do_HEAD(self) -> None:
        """Answer as S3 does: the status of a GET, and no word about the reason."""
        self._send(403 if self.server.answers else 200, b"", AMAZON)

    def _play(self, operation: Operation) -> bool:
        """Give the first answer that is for this operation, and return whether there was one."""
        with self.server.lock:
            self.server.requests.append((operation, self._key))
        for answer in self.server.answers:
            if operation in answer.to and self.server.may_give(answer):
                self._send(answer.status, answer.body.encode(), answer.headers)
                return True
        if not self.server.has_bucket and operation != "create":
            missing = error(
                404, "NoSuchBucket", "The specified bucket does not exist", more=f"<BucketName>{BUCKET}</BucketName>"
            )
            self._send(404, missing.body.encode(), missing.headers)
            return True
        return False

    def _get(self) -> None:
        with self.server.lock:
            content = self.server.objects.get(self._key)
        if content is None:
            missing = error(404, "NoSuchKey", "The specified key does not exist.", more=f"<Key>{escape(self._key)}</Key>")
            self._send(404, missing.body.encode(), missing.headers)
            return
        headers = {**AMAZON, "ETag": _etag(content), "Content-Type": "binary/octet-stream"}
        span = self.headers.get("Range", "").removeprefix("bytes=")
        if not span or not self.server.honours_ranges:
            self._send(200, content, headers)
            return
        start, _, last = span.partition("-")
        part = content[int(start) : int(last) + 1 if last else None]
        headers["Content-Range"] = f"bytes {start}-{int(start) + len(part) - 1}/{len(content)}"
        self._send(206, part, headers)

    def _list(self) -> None:
        prefix = parse_qs(urlsplit(self.path).query).get("prefix", [""])[0]
        with self.server.lock:
            found = sorted((key, value) for key, value in self.server.objects.items() if key.startswith(prefix))
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>{escape(_etag(value))}</ETag><Size>{len(value)}</Size><StorageClass>STANDARD</StorageClass></Contents>"
            for key, value in found
        )
        body = (
            f'{HEADER}<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>{BUCKET}</Name>'
            f"<Prefix>{escape(prefix)}</Prefix><KeyCount>{len(found)}</KeyCount><MaxKeys>1000</MaxKeys>"
            f"<IsTruncated>false</IsTruncated>{contents}</ListBucketResult>"
        )
        self._send(200, body.encode(), {"Content-Type": "application/xml", **AMAZON})

    def _put(self, only_new: bool) -> None:
        with self.server.lock:
            refused = only_new and self._key in self.server.objects
            if not refused:
                self.server.objects[self._key] = self._content
        if refused:
            exists = error(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
            self._send(412, exists.body.encode(), exists.headers)
        else:
            self._send(200, b"", {**AMAZON, "ETag": _etag(self._content)})

    def _create(self) -> None:
        self.server.has_bucket = True
        self._send(200, b"", {**AMAZON, "Location": f"/{BUCKET}"})

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _etag(content: bytes) -> str:
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'


EXPIRED = error(400, "ExpiredToken", "The provided token has expired.", more="<Token-0>AQoD</Token-0>")
INVALID_TOKEN = error(400, "InvalidToken", "The provided token is malformed or otherwise invalid.", more="<Token-0>x</Token-0>")
SKEWED = error(
    403, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.",
    more="<RequestTime>20250901T162148Z</RequestTime><ServerTime>2025-09-03T16:21:50Z</ServerTime>"
    "<MaxAllowedSkewMilliseconds>900000</MaxAllowedSkewMilliseconds>",
)  # fmt: skip
MOVED = error(
    301, "PermanentRedirect",
    "The bucket you are attempting to access must be addressed using the specified endpoint. Please send all future requests "
    "to this endpoint.",
    more=f"<Endpoint>{BUCKET}.s3-eu-west-1.amazonaws.com</Endpoint><Bucket>{BUCKET}</Bucket>", x_amz_bucket_region="eu-west-1",
)  # fmt: skip
OTHER_REGION = error(
    400, "AuthorizationHeaderMalformed",
    "The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-west-1'",
    more="<Region>eu-west-1</Region>",
)  # fmt: skip
ILLEGAL_LOCATION = error(
    400, "IllegalLocationConstraintException",
    "The eu-west-1 location constraint is incompatible for the region specific endpoint this request was sent to.", "create",
)  # fmt: skip
UNLISTABLE = error(
    403, "AccessDenied", "User: arn:aws:iam::1:user/me is not authorized to perform: s3:ListBucket on resource: "
    f'"arn:aws:s3:::{BUCKET}" because no identity-based policy allows the s3:ListBucket action', "list",
)  # fmt: skip
UNREADABLE = error(403, "AccessDenied", "Access Denied", "get")
READ_ONLY = error(403, "AccessDenied", "Access Denied", "put", "put-new", "delete", "create")
APPEND_ONLY = error(403, "AccessDenied", "Access Denied", "delete")
CEPH_QUOTA = error(403, "QuotaExceeded", "", "put", "put-new")
MINIO_QUOTA = error(
    400, "XMinioAdminBucketQuotaExceeded", "Bucket quota exceeded", "put", "put-new", Server="MinIO"
)  # fmt: skip
MINIO_FULL = error(
    507, "XMinioStorageFull", "Storage backend has reached its minimum free drive threshold. Please delete a few objects to "
    "proceed.", "put", "put-new", Server="MinIO",
)  # fmt: skip
FULL = error(507, "InsufficientStorage", "Insufficient storage", "put", "put-new")
TAKEN = error(
    409, "BucketAlreadyExists", "The requested bucket name is not available. The bucket namespace is shared by all users of "
    "the system. Please select a different name and try again.", "create",
)  # fmt: skip
UNCREATABLE = error(403, "AccessDenied", "Access Denied", "create")
REQUESTER_PAYS = error(403, "AccessDenied", "Access Denied", "get", "list", x_amz_bucket_region="us-east-1")
NO_KEY = error(
    403, "AccessDenied", "User: arn:aws:iam::1:user/me is not authorized to perform: kms:GenerateDataKey on resource: "
    "arn:aws:kms:eu-west-1:1:key/2 because no identity-based policy allows the kms:GenerateDataKey action", "put", "put-new",
)  # fmt: skip
KEY_OFF = error(400, "KMS.DisabledException", "arn:aws:kms:eu-west-1:1:key/2 is disabled.", "get")
NOT_ALLOWED = error(405, "MethodNotAllowed", "The specified method is not allowed against this resource.", "put", "put-new")
NOT_IMPLEMENTED = error(
    501, "NotImplemented", "A header you provided implies functionality that is not implemented", "put", "list"
)
R2_UNAUTHORIZED = error(401, "Unauthorized", "Unauthorized", Server="cloudflare")
UNCONDITIONAL = error(
    501, "NotImplemented", "A header you provided implies functionality that is not implemented", "put-new",
    more="<Header>If-None-Match</Header>",
)  # fmt: skip
UNCONDITIONAL_400 = error(400, "NotImplemented", "If-None-Match is not supported", "put-new")
CONFLICT = error(
    409, "ConditionalRequestConflict", "The conditional request cannot succeed due to a conflicting operation against this "
    "resource.", "put-new",
)  # fmt: skip
