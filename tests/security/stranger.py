"""Runs attacks as another user of this machine: a process that has given up its rights for good."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
NOBODY = 65534
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")

# Modules are imported before the rights are given up: the stranger may not be able to read this environment's files.
_PREAMBLE = """
import encodings.idna, errno, fcntl, http.client, json, os, pathlib, socket, ssl, stat, sys
{imports}
os.setgroups([])
os.setresgid({nobody}, {nobody}, {nobody})
os.setresuid({nobody}, {nobody}, {nobody})
os.umask(0)
os.chdir("/")
given = json.loads(sys.argv[1])
"""


def as_stranger(script: str, given: Any = None, imports: str = "", seconds: float = 30) -> Any:
    """Run a script as another user.

    Args:
        script: Python that finds ``given`` and prints one JSON document at the end.
        imports: lines that are run before, with all rights.

    Returns:
        The document.

    Raises:
        AssertionError: when the script fails.
    """
    code = _PREAMBLE.format(imports=imports, nobody=NOBODY) + script
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(given)], capture_output=True, text=True, timeout=seconds, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
