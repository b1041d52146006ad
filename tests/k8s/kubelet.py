"""Runs rendered pods as plain processes, as a kubelet and KubeRay would. No Kubernetes runs here.

Each pod is a host of :mod:`tests.faults.hosts` with its own address and name. Its containers see the machine's files with the
pod's volumes mounted over them, and get the commands, variables, hooks and probes of the manifest. Unlike in Kubernetes,
processes run as this user, their memory is not limited, and this machine's environment takes the place of the image.
"""

from __future__ import annotations

import base64
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.faults.hosts import Host, Network, wait_until_answers
from tests.k8s.pods import PodTemplate
from tests.k8s.rendering import ROOT, Document

IMAGE_TREE = "/home/ray/unbraid"
"""The folder of the source tree in the image, which is also its working directory."""
CONTAINER = """set -e
root=$1 name=$2 workdir=$3; shift 3
mount -t tmpfs none "$root"
for entry in /*; do
  case $entry in /home|/tmp|/proc) mkdir "$root$entry"; continue;; esac
  if [ -L "$entry" ]; then cp -P "$entry" "$root/"
  elif [ -d "$entry" ]; then mkdir "$root$entry"; mount --rbind "$entry" "$root$entry"; fi
done
while [ "$1" != -- ]; do mkdir -p "$root$2"; mount --rbind "$1" "$root$2"; shift 2; done
shift
mount -t proc proc "$root/proc"
hostname "$name"
exec chroot "$root" sh -c 'cd "$0" && exec "$@"' "$workdir" "$@"
"""


@dataclass
class RunningPod:
    """A pod that runs.

    Attributes:
        template: its description in the manifest.
        host: the host that it runs on.
        name: the pod's name.
        folder: where its volumes and logs are.
        secrets: the Secrets by name.
        maps: the ConfigMaps by name.
        ray_variables: the variables that KubeRay adds to its containers.
        volumes: the folder of each volume, by name.
        processes: the process of each container, by name.
    """

    template: PodTemplate
    host: Host
    name: str
    folder: Path
    secrets: Mapping[str, Mapping[str, str]]
    maps: Mapping[str, Mapping[str, str]]
    ray_variables: Mapping[str, str]
    volumes: dict[str, Path] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self) -> None:
        """Create the volumes and start all containers; init containers first, which must end unless they are sidecars.

        Raises:
            AssertionError: when one ends with an error.
        """
        for volume in [*self.template.spec.get("volumes", []), *self._claims()]:
            self.volumes[volume["name"]] = path = self.folder / f"{self.name}-{volume['name']}"
            path.mkdir()
            if "configMap" in volume:
                self._mount(path, volume["configMap"])
        for container in self.template.containers:
            process = self.run(container, [*container["command"], *container.get("args", [])])
            sidecar = container.get("restartPolicy") == "Always"
            if container in self.template.spec.get("initContainers", []) and not sidecar and process.wait(60) != 0:
                raise AssertionError(
                    f"{self.name}: {container['name']} failed: {self.log(container['name']).read_text()[-3000:]}"
                )

    def _mount(self, folder: Path, reference: Document) -> None:
        """Lay out a ConfigMap as a kubelet does: a hidden folder, a link ``..data`` to it, for each key a link through that.

        Raises:
            KeyError: when there is no such ConfigMap, and the volume is not optional; Kubernetes would not start the pod.
        """
        if reference["name"] not in self.maps and reference.get("optional"):
            return
        (folder / "..2026_01_01").mkdir()
        (folder / "..data").symlink_to("..2026_01_01")
        for key, text in self.maps[reference["name"]].items():
            (folder / "..data" / key).write_text(text)
            (folder / key).symlink_to(f"..data/{key}")

    def run(self, container: Document, command: list[str]) -> subprocess.Popen[bytes]:
        """Start a container with a command; it has its own files, host name and processes."""
        process = self.host.start(self._isolated(container, command), self.environment(container), self.log(container["name"]))
        self.processes[container["name"]] = process
        return process

    def output(self, container: Document, command: list[str], seconds: float) -> str:
        """Run a command in a container that runs, and return what it prints.

        Raises:
            subprocess.TimeoutExpired: when it takes longer than ``seconds``.
        """
        (first,) = psutil.Process(self.processes[container["name"]].pid).children()
        whole = ["nsenter", f"--target={first.pid}", "--mount", "--uts", "--pid", "--net", "--root", "--wd", *command]
        return subprocess.run(
            whole, env=self.environment(container), capture_output=True, text=True, check=True, timeout=seconds
        ).stdout

    def pre_stop(self) -> tuple[str, float]:
        """Run the preStop hook, as Kubernetes does before SIGTERM.

        Returns:
            What the hook prints, and the seconds that it took.

        Raises:
            subprocess.TimeoutExpired: when it takes longer than the grace period.
        """
        container = self.template.spec["containers"][0]
        started = time.monotonic()
        text = self.output(
            container, container["lifecycle"]["preStop"]["exec"]["command"], self.template.spec["terminationGracePeriodSeconds"]
        )
        return text, time.monotonic() - started

    def log(self, container: str) -> Path:
        """The file that has what a container prints."""
        return self.folder / f"{self.name}-{container}.log"

    def environment(self, container: Document) -> dict[str, str]:
        """The variables of a container: from ConfigMaps, Secrets and its own list, and those that KubeRay adds."""
        made: dict[str, str] = {
            "PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin",
            "PYTHONPATH": IMAGE_TREE,
            "HOME": "/home",
        }
        for source in container.get("envFrom", []):
            if "configMapRef" in source:
                made |= self.maps[source["configMapRef"]["name"]]
            else:
                made |= self.secrets.get(source["secretRef"]["name"], {})
        for variable in container.get("env", []):
            reference = variable.get("valueFrom", {}).get("secretKeyRef")
            made[variable["name"]] = self.secrets[reference["name"]][reference["key"]] if reference else variable["value"]
        return {**made, **self.ray_variables}

    def wait_until_ready(self) -> None:
        """Run all probes of the first container, as often as the manifest allows, then wait until its ports are open.

        Raises:
            AssertionError: when a probe fails as often as the manifest allows.
        """
        container = self.template.spec["containers"][0]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        for name in ("startupProbe", "readinessProbe", "livenessProbe"):
            probe = container.get(name)
            if probe is None:
                continue
            # a readiness probe that fails ends nothing: Kubernetes repeats it without limit
            for _ in range(30 if name == "readinessProbe" else probe.get("failureThreshold", 3)):
                if self._probe(probe, ports):
                    break
                time.sleep(probe.get("periodSeconds", 10))
            else:
                raise AssertionError(f"{self.name}: {name} fails: {self.log(container['name']).read_text()[-3000:]}")
        for port in ports.values():
            wait_until_answers(self.host.address, port, 30)

    def _probe(self, probe: Document, ports: Mapping[str, int]) -> bool:
        asked = probe["httpGet"] if "httpGet" in probe else probe["tcpSocket"]
        port = ports.get(asked["port"], asked["port"])
        try:
            if "httpGet" in probe:
                url = f"http://{self.host.address}:{port}{asked['path']}"
                with urllib.request.urlopen(url, timeout=probe.get("timeoutSeconds", 1)) as answer:
                    return bool(200 <= answer.status < 400)
            with socket.create_connection((self.host.address, port), timeout=1):
                return True
        except (OSError, urllib.error.URLError):
            return False

    def _claims(self) -> Iterator[dict[str, Any]]:
        yield from ({"name": t["metadata"]["name"]} for t in self.template.owner["spec"].get("volumeClaimTemplates", []))

    def _isolated(self, container: Document, command: list[str]) -> list[str]:
        mounts = [str(ROOT), IMAGE_TREE]  # the image's tree; then the programs of this machine's environment, wherever they are
        for path in {str(ROOT), sys.prefix, sys.base_prefix}:
            mounts += [path, path]
        for mount in container.get("volumeMounts", []):
            if mount["mountPath"] != "/dev/shm":  # noqa: S108 - the machine's own serves
                mounts += [str(self.volumes[mount["name"]]), mount["mountPath"]]
        root = self.folder / f"{self.name}-root"
        root.mkdir(exist_ok=True)
        workdir = IMAGE_TREE if self.template.role else "/"
        alone = ["unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child"]
        return [*alone, "sh", "-c", CONTAINER, "sh", str(root), self.name, workdir, *mounts, "--", *command]


class Kubelet:
    """Starts pods of rendered objects on a network.

    Args:
        net: the hosts' network.
        objects: the rendered objects, whose ConfigMaps are used.
        secrets: the Secrets that an operator has created, by name.
        token: the token of Ray's clusters.
    """

    def __init__(self, net: Network, objects: list[Document], secrets: Mapping[str, Mapping[str, str]], token: str) -> None:
        self.net = net
        self.secrets = secrets
        self.maps = {d["metadata"]["name"]: d.get("data", {}) for d in objects if d["kind"] == "ConfigMap"}
        self.names: dict[str, str] = {}
        self._token = token
        self._number = 0

    def pod(self, of: PodTemplate, service: str, group: Document | None = None, head: str | None = None) -> RunningPod:
        """Start a pod, and wait until it is ready.

        Args:
            of: its description.
            service: the name under which other pods reach it.
            group: for a pod of Ray, its group in the RayCluster, from which KubeRay makes the ``ray start`` command.
            head: for a worker, the name of the head's service.
        """
        self._number += 1
        host = self.net.host()
        name = f"{service}-{self._number}"
        self.names[service] = self.names[name] = host.address
        for other in Path("/etc/netns").glob(f"{host.name[:-2]}*"):  # as the cluster's DNS would resolve names
            (other / "hosts").write_text("127.0.0.1 localhost\n" + "".join(f"{a} {n}\n" for n, a in self.names.items()))
        variables: dict[str, str] = {}
        if group is not None:
            variables = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self._token, "RAY_ADDRESS": f"{head or '127.0.0.1'}:6379"}
            container = dict(of.spec["containers"][0])
            container["command"] = ["bash", "-c", f"ulimit -n 65536; {ray_start(group, head, container)}"]
            spec = of.spec | {"containers": [container, *of.spec["containers"][1:]]}
            of = PodTemplate(of.where, of.owner, of.labels, spec, of.role)
        made = RunningPod(of, host, name, self.net.folder, self.secrets, self.maps, variables)
        made.start()
        made.wait_until_ready()
        return made


def ray_start(group: Document, head: str | None, container: Document) -> str:
    """The ``ray start`` command that KubeRay makes of a group's parameters and its container's limits."""
    parameters = {"block": "true", **group["rayStartParams"]}
    limits = container["resources"]["limits"]
    if head is not None:
        parameters["address"] = f"{head}:6379"
    parameters.setdefault("num-cpus", str(limits["cpu"]))
    words = [f"--{key}" if value == "true" else f"--{key}={value}" for key, value in sorted(parameters.items())]
    return f"ray start {'' if head else '--head '}{' '.join(words)} --object-store-memory=200000000"


def generated_keys() -> dict[str, str]:
    """New keys for S3, as an operator makes them with `openssl rand`."""
    import secrets

    return {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": base64.b64encode(secrets.token_bytes(24)).decode()}
