"""kubectl, through which all that concerns Kubernetes goes: whatever signs a person in there does so here too."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

from unbraid.cluster.jobs.ray import JobError
from unbraid.trainers.errors import in_one_line

NAMESPACE = "unbraid"
NO_KUBERAY = ('resource type "rayjobs"', "no matches for kind", "could not find the requested resource")
INSTALL = (
    "install it (helm install kuberay-operator kuberay-operator --repo https://ray-project.github.io/kuberay-helm "
    "--version 1.7.0 --namespace kuberay-system --create-namespace)"
)


UNREACHABLE = ("connect", "timeout", "timed out", "EOF", "no such host", "ServiceUnavailable")


class UnreachableError(JobError):
    """Kubernetes does not answer; it may do so later."""


def require_kubectl() -> None:
    """
    Raises:
        JobError: when it is not there.
    """
    if shutil.which("kubectl") is None:
        raise JobError(
            "kubectl is not on PATH: install version 1.30 or later, or activate the environment that `make setup` made"
        )


def kubectl(*arguments: str, content: str | None = None, namespace: str = NAMESPACE) -> str:
    """What kubectl prints.

    Raises:
        JobError: with the cause and a remedy.
        UnreachableError: when nothing answers.
    """
    command = ["kubectl", *arguments]
    done = subprocess.run(command, input=content, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise _explained(command, done.stderr, namespace)
    return done.stdout


def _explained(command: Sequence[str], text: str, namespace: str) -> JobError:
    """kubectl's error, in one line, with what to do."""
    line = in_one_line(text.replace("Error from server", "").strip(" :"), 400)
    if any(words in text for words in NO_KUBERAY):
        return JobError(f"this Kubernetes cluster has no KubeRay: {INSTALL}, then kubectl apply -k k8s/overlays/gpu")
    if f'namespaces "{namespace}" not found' in text:
        return JobError(f"there is no namespace {namespace}: kubectl apply -k k8s/overlays/gpu (or another overlay) makes it")
    if "Forbidden" in text or "forbidden" in text:
        return JobError(f"you may not do that in namespace {namespace} ({line}): ask to be in the group unbraid-researchers")
    if "Unauthorized" in text or "You must be logged in" in text:
        return JobError(f"Kubernetes does not know you ({line}): sign in again, see `kubectl auth whoami`")
    if "no configuration has been provided" in text or any(words in text for words in UNREACHABLE):
        return UnreachableError(
            f"no Kubernetes cluster answers ({line}): see `kubectl config current-context`, or set KUBECONFIG"
        )
    return JobError(f"{shlex.join(command[:3])}: {line}")


class Printed:
    """The output of one head after another, without a line twice: Kubernetes tells of each when it was printed."""

    def __init__(self, namespace: str, show: Callable[[str], None]) -> None:
        self._namespace = namespace
        self._show = show
        self._pod = ""
        self._last = ("", "")
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def follow(self, pod: str) -> None:
        """Go on with a pod's output, whose stream may have ended meanwhile."""
        if pod == self._pod and self._process is not None and self._process.poll() is None:
            return
        self.close()
        self._pod = pod
        self._process = subprocess.Popen(
            ["kubectl", *self._arguments(), "-f"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()

    def finish(self) -> None:
        """Show what the stream may still hold, and what it left out."""
        self.close()
        if self._pod:
            with suppress(JobError):  # it may be gone with its cluster
                for line in kubectl(*self._arguments(), namespace=self._namespace).splitlines(keepends=True):
                    self._print(line)

    def close(self) -> None:
        """End the stream."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
        if self._reader is not None:
            self._reader.join()
        self._process = self._reader = None

    def _arguments(self) -> list[str]:
        since = [f"--since-time={self._last[0]}Z"] if self._last[0] else []
        return ["logs", "-n", self._namespace, self._pod, "-c", "log", "--timestamps", *since]

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if line.endswith("\n"):  # else the stream broke within it, and the next one has it whole
                self._print(line)

    def _print(self, line: str) -> None:
        stamp, _, text = line.partition(" ")
        second, _, fraction = stamp.removesuffix("Z").partition(".")
        printed = (second, fraction.ljust(9, "0"))
        if printed > self._last:
            self._last = printed
            self._show(text)
