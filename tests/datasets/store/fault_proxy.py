"""A TCP proxy before a real HTTP server, which breaks chosen answers."""

import itertools
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal

Fault = Literal["cut", "truncate", "stall", "corrupt", "slow_down", "internal_error", "expired", "denied", "away", "late"]
ANSWERS: dict[str, tuple[str, str]] = {
    "slow_down": ("503 Slow Down", "SlowDown"),
    "internal_error": ("500 Internal Server Error", "InternalError"),
    "denied": ("403 Forbidden", "AccessDenied"),
    "expired": ("400 Bad Request", "ExpiredToken"),
}
CHUNK = 64 << 10
EXPECTS = b"Expect: 100-continue\r\n"


@dataclass
class FaultProxy:
    """Passes requests on and answers back; ``fault`` decides for each request how its answer is broken.

    Attributes:
        fault: request number (from 0) and its line, such as ``GET /bucket/key HTTP/1.1`` → what to do to the answer.
        after: bytes of an answer's body that pass before it is cut, truncated, stalled or corrupted.
        stall: seconds of silence.
        bind: address that it listens on.
        passed: bytes of bodies passed on to clients.
    """

    host: str
    port: int
    fault: Callable[[int, str], Fault | None]
    after: int = 100_000
    stall: float = 3.0
    bind: str = "127.0.0.1"
    requests: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    passed: int = 0

    def __post_init__(self) -> None:
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._closed = False
        self._listener = socket.create_server((self.bind, 0))
        self.url = f"http://{self.bind}:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._closed = True
        self._listener.close()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), client, socket.create_connection((self.host, self.port)) as server:
            to_client, to_server = client.makefile("rb"), server.makefile("rb")
            while head := _head(to_client):
                line = head.split(b"\r\n", 1)[0].decode()
                with self._lock:
                    number = next(self._numbers)
                    self.requests.append(line)
                    fault = self.fault(number, line)
                    if fault is not None:
                        self.faults.append(fault)
                if EXPECTS in head:  # the client waits for this before it sends a body
                    head = head.replace(EXPECTS, b"")
                    client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                body = to_client.read(_length(head))
                if fault == "away":  # the connection ends without an answer
                    return
                if fault == "late":
                    time.sleep(self.stall)
                    fault = None
                if fault in ANSWERS:
                    client.sendall(_answer(*ANSWERS[fault]))
                    continue
                server.sendall(head + body)
                if not self._pass_back(to_server, client, fault, line.startswith("HEAD")):
                    return

    def _pass_back(self, server: object, client: socket.socket, fault: Fault | None, bodiless: bool) -> bool:
        """Pass an answer back; return whether the connection continues."""
        head = _head(server)
        client.sendall(head)
        left = 0 if bodiless else _length(head)
        if b"chunked" in head.lower():
            client.sendall(_chunked(server))
            return True
        sent = 0
        while left:
            content = bytearray(server.read(min(CHUNK, left)))  # type: ignore[attr-defined]
            if not content:
                return False
            if fault is not None and sent + len(content) > self.after:
                keep = max(self.after - sent, 0)
                if fault == "corrupt":
                    content[min(keep, len(content) - 1)] ^= 0xFF
                    fault = None
                else:
                    client.sendall(content[:keep])
                    self.passed += keep
                    if fault == "stall":
                        time.sleep(self.stall)
                    elif fault == "cut":  # a reset, as when a machine dies
                        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return False
            client.sendall(content)
            with self._lock:
                self.passed += len(content)
            sent += len(content)
            left -= len(content)
        return True


@contextmanager
def fault_proxy(endpoint: str, fault: Callable[[int, str], Fault | None], **options: float | str) -> Iterator[FaultProxy]:
    """Start a proxy before the server at ``http://host:port``."""
    host, port = endpoint.removeprefix("http://").split(":")
    proxy = FaultProxy(host, int(port), fault, **options)  # type: ignore[arg-type]
    try:
        yield proxy
    finally:
        proxy.close()


def _head(stream: object) -> bytes:
    lines = []
    while line := stream.readline():  # type: ignore[attr-defined]
        lines.append(line)
        if line == b"\r\n":
            return b"".join(lines)
    return b""


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def _chunked(stream: object) -> bytes:
    parts = []
    while True:
        size = stream.readline()  # type: ignore[attr-defined]
        parts.append(size)
        count = int(size.split(b";")[0], 16)
        parts.append(stream.read(count + 2))  # type: ignore[attr-defined]
        if count == 0:
            return b"".join(parts)


def _answer(status: str, code: str) -> bytes:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
    return f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
