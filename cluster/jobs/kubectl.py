"""kubectl: the only way to Kubernetes, so that whatever signs a person in there signs this program in too."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress

from unbraid.cluster.jobs.server import JobError, UnreachableError
from unbraid.datasets.threads import WatchedThread
from unbraid.datasets.untrusted.text import in_one_line

NAMESPACE = "unbraid"
NO_KUBERAY = ('resource type "rayjobs"', "no matches for kind", "could not find the requested resource")
INSTALL = (
    "install it (helm install kuberay-operator kuberay-operator --repo https://ray-project.github.io/kuberay-helm "
    "--version 1.7.0 --namespace kuberay-system --create-namespace)"
)
UNREACHABLE = ("connect", "timeout", "timed out", "EOF", "no such host", "ServiceUnavailable")


def require_kubectl() -> None:
    """Check that kubectl is installed.

    Raises:
        JobError: when it is not on PATH.
    """
    if shutil.which("kubectl") is None:
        raise JobError(
            "kubectl is not on PATH: install version 1.30 or later, or activate the environment that `make setup` made"
        )


def kubectl(*arguments: str, content: str | None = None, namespace: str = NAMESPACE) -> str:
    """Run kubectl and return what it prints.

    Args:
        content: its standard input.
        namespace: for the error's text.

    Raises:
        JobError: with the cause and a remedy.
        UnreachableError: when no Kubernetes answers.
    """
    command = ["kubectl", *arguments]
    done = subprocess.run(command, input=content, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise _explained(command, done.stderr, namespace)
    return done.stdout


def _explained(command: Sequence[str], text: str, namespace: str) -> JobError:
    """Put kubectl's error in one line, with what to do."""
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


class LogFollower:
    """Passes on the output of one head pod after another, no line twice: Kubernetes stamps each line with its time.

    Args:
        on_output: called with each line.
    """

    def __init__(self, namespace: str, on_output: Callable[[str], None]) -> None:
        self._namespace = namespace
        self._on_output = on_output
        self._pod = ""
        self._last = ("", "")
        """Time of the newest line that was passed on: the second, and its nine decimal digits."""
        self._process: subprocess.Popen[str] | None = None
        self._reader: WatchedThread | None = None

    def follow(self, pod: str) -> None:
        """Pass on a pod's output in a thread; repeated, it opens the stream again if that has ended."""
        if pod == self._pod and self._process is not None and self._process.poll() is None:
            return
        self.close()
        self._pod = pod
        process = subprocess.Popen(
            ["kubectl", *self._arguments(), "-f"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._process = process
        self._reader = WatchedThread(lambda: self._read(process), "follow-pod")
        self._reader.start()

    def finish(self) -> None:
        """End the stream, and pass on the lines that it left out."""
        self.close()
        if self._pod:
            with suppress(JobError):  # the pod may be gone with its cluster
                for line in kubectl(*self._arguments(), namespace=self._namespace).splitlines(keepends=True):
                    self._pass_on(line)

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
            if line.endswith("\n"):  # a line without its end was cut by a broken stream; the next stream has it whole
                self._pass_on(line)

    def _pass_on(self, line: str) -> None:
        stamp, _, text = line.partition(" ")
        second, _, fraction = stamp.removesuffix("Z").partition(".")
        time = (second, fraction.ljust(9, "0"))
        if time > self._last:
            self._last = time
            self._on_output(text)
