"""SeaweedFS for one user: S3 wants its keys, and every other port of the server a certificate that nobody else has.

``python -m unbraid.cluster.local.seaweedfs FOLDER`` writes the configuration of a server whose S3 keys are in the environment;
k8s/components/seaweedfs does so before its server starts.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from unbraid.cluster.local.certificates import issue_certificates
from unbraid.cluster.local.ports import GRPC_OFFSET, LOOPBACK, free_ports
from unbraid.cluster.local.private_files import write_private
from unbraid.datasets.errors import DataError
from unbraid.datasets.untrusted.documents import parse_json

KEYS, SECURITY = "s3.json", "security.toml"
"""Files of the server's configuration."""
_GRPC = ("master", "volume", "filer", "s3", "admin", "worker", "mq", "msg_broker", "msg_agent", "iam", "client")
_HTTP = ("master", "volume", "filer", "admin")
_SIGNED = ("jwt.signing", "jwt.signing.read", "jwt.filer_signing", "jwt.filer_signing.read")
_TOKEN_SECONDS = 60
_NOBODY = "https://nobody.invalid"
"""The one web page that may send requests from a browser; ``*`` is SeaweedFS's default."""
CLOSED = (
    "-disableHttp", f"-s3.allowedOrigins={_NOBODY}", f"-filer.allowedOrigins={_NOBODY}", "-master.telemetry=false",
    "-admin.ui=false", "-webdav=false", "-s3.iam=false", "-s3.port.iceberg=0", "-s3.port.lance=0",
)  # fmt: skip
"""Options that turn off what is not used: HTTP of the filer, web pages, WebDAV, Iceberg, Lance, and reports to the makers."""
_SOCKETS = Path("/tmp")  # noqa: S108  # SeaweedFS has no option for it
"""Where the server puts its gRPC sockets, under names that hold its ports."""


def server_ports(port: int) -> list[int]:
    """Choose the ports of the server: S3, master, volume, filer, admin.

    Args:
        port: of S3; 0 takes any free one.

    Raises:
        DataError: when somebody else holds the names of its sockets.
    """
    for _ in range(20):
        ports = free_ports(5)
        ports[0] = port or ports[0]
        taken = [path for path in grpc_sockets(ports) if path.exists() or path.is_symlink()]
        if not taken:
            return ports
    raise DataError(f"{taken[0]}: this name is taken, SeaweedFS makes its sockets there: remove {_SOCKETS}/seaweedfs-*.sock")


def grpc_sockets(ports: Sequence[int]) -> Iterator[Path]:
    """Name the sockets of a server's gRPC ports.

    Args:
        ports: from :func:`server_ports`.
    """
    for server, port in zip(("s3", "master", "volume", "filer", "admin"), ports, strict=False):
        yield _SOCKETS / f"seaweedfs-{server}-grpc-{port + GRPC_OFFSET}.sock"


def remove_sockets(ports: Sequence[int]) -> None:
    """Remove the sockets that a server which was killed has left."""
    for path in grpc_sockets(ports):
        with suppress(OSError):
            state = path.lstat()
            if stat.S_ISSOCK(state.st_mode) and state.st_uid == os.getuid():
                path.unlink()


def server_command(program: str, folder: Path, sockets: Path, ports: Sequence[int]) -> list[str]:
    """Return the command of the server.

    Args:
        folder: holds the configuration and gets the data.
        sockets: folder for its other sockets and its logs; short, because a socket's path has 107 characters at most.
        ports: from :func:`server_ports`.
    """
    s3, master, volume, filer, admin = ports
    return [
        program, f"-config_dir={folder}", "mini", f"-dir={folder / 's3'}", f"-ip={LOOPBACK}", f"-ip.bind={LOOPBACK}",
        f"-s3.config={folder / KEYS}", f"-s3.port={s3}", f"-master.port={master}", f"-volume.port={volume}",
        f"-filer.port={filer}", f"-admin.port={admin}", f"-filer.localSocket={sockets / 'filer.sock'}",
        f"-s3.localSocket={sockets / 's3.sock'}", *CLOSED,
    ]  # fmt: skip


def server_environment(sockets: Path) -> dict[str, str]:
    """Return the server's environment: this process's, without what would change its configuration or add keys to it."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("WEED_", "AWS_", "S3_"))}
    return inherited | {"TMPDIR": str(sockets)}


def write_security(folder: Path) -> None:
    """Write the keys and certificates with which the parts of the server know each other; each start has its own.

    All HTTP and gRPC ports but S3's then want a client certificate (mutual TLS), which is in this folder only. Requests to the
    volume server and the filer are signed as well.

    Args:
        folder: of the server's configuration.
    """
    certificates = issue_certificates()
    names = {"ca": "s3-authority.pem", "cert": "s3-certificate.pem", "key": "s3-key.pem"}
    for name, content in zip(names.values(), certificates, strict=True):
        write_private(folder / name, content)
    paths = {key: f'{key} = "{_escaped(folder / name)}"' for key, name in names.items()}
    own = f"{paths['cert']}\n{paths['key']}\n"
    sections = [f'[{name}]\nkey = "{secrets.token_hex(32)}"\nexpires_after_seconds = {_TOKEN_SECONDS}\n' for name in _SIGNED]
    sections.append("[access]\nui = false\n\n[filer.expose_directory_metadata]\nenabled = false\n")
    sections.append(f'[cors.allowed_origins]\nvalues = "{_NOBODY}"\n')
    sections.append(f"[grpc]\n{paths['ca']}\n")
    sections += [f"[grpc.{part}]\n{own}" for part in _GRPC]
    sections += [f"[https.{part}]\n{own}{paths['ca']}\n" for part in _HTTP]
    sections.append(f"[https.client]\nenabled = true\n{own}{paths['ca']}\n")
    write_private(folder / SECURITY, "\n".join(sections))


def _escaped(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace('"', '\\"')


def write_keys(folder: Path, access: str, secret: str) -> None:
    """Write the one pair of keys that S3 accepts.

    Args:
        folder: of the server's configuration.

    Raises:
        DataError: when one is empty: the server would then serve everybody.
    """
    if not access or not secret:
        raise DataError("S3's keys: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must both be set, and not empty")
    credentials = {"accessKey": access, "secretKey": secret}
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    config = {"identities": [{"name": "unbraid", "credentials": [credentials], "actions": actions}]}
    write_private(folder / KEYS, json.dumps(config))


def read_keys(folder: Path) -> tuple[str, str]:
    """Read the keys of S3 from a server's configuration."""
    config = parse_json((folder / KEYS).read_bytes(), dict[str, Any], str(folder / KEYS))
    credentials = config["identities"][0]["credentials"][0]
    return credentials["accessKey"], credentials["secretKey"]


def main(folder: Path) -> None:
    """Write the configuration of a server whose S3 keys are in the environment."""
    try:
        write_keys(folder, os.environ.get("AWS_ACCESS_KEY_ID", ""), os.environ.get("AWS_SECRET_ACCESS_KEY", ""))
    except DataError as error:
        sys.exit(str(error))
    write_security(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
