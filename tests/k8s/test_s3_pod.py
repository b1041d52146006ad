"""The S3 server in the cluster: its pod, run as processes on a host of its own, serves nobody without its keys."""

import socket
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.faults.hosts import network, on_hosts
from tests.k8s.kubelet import Kubelet, RunningPod, generated_keys
from tests.k8s.pods import pods_of
from tests.k8s.rendering import documents, needs_kubectl

pytestmark = [*on_hosts(120), needs_kubectl]


@pytest.fixture
def kubelet() -> Iterator[Kubelet]:
    with tempfile.TemporaryDirectory(prefix="ub", ignore_cleanup_errors=True) as folder, network(Path(folder), {}) as net:
        yield Kubelet(net, documents("overlays/local"), {}, "")


def s3_pod(kubelet: Kubelet, keys: Mapping[str, str]) -> RunningPod:
    (template,) = [pod for pod in pods_of(documents("overlays/local")) if pod.owner["kind"] == "StatefulSet"]
    kubelet.secrets = {"unbraid-s3": keys}
    return kubelet.pod(template, "unbraid-s3")


def s3_client(address: str, access: str, secret: str) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=f"http://{address}:8333",
        region_name="us-east-1",
        aws_access_key_id=access,
        aws_secret_access_key=secret,
    )


def test_only_s3_answers_and_only_with_its_keys(kubelet: Kubelet) -> None:
    keys = generated_keys()
    pod = s3_pod(kubelet, keys)
    address = pod.host.address
    client = s3_client(address, *keys.values())
    client.create_bucket(Bucket="unbraid")
    client.put_object(Bucket="unbraid", Key="words", Body=b"the-owners-own-words" * 1000)
    assert client.get_object(Bucket="unbraid", Key="words")["Body"].read() == b"the-owners-own-words" * 1000

    listening = ["ip", "netns", "exec", pod.host.name, "ss", "--tcp", "--listening", "--numeric", "--no-header"]
    lines = subprocess.run(listening, capture_output=True, text=True, check=True).stdout.splitlines()
    ports = {int(line.split()[3].rpartition(":")[2]) for line in lines}
    assert len(ports) >= 10 and 8333 in ports
    for port in ports:
        for path in ("/", "/metrics", "/dir/status", "/unbraid/words", "/buckets/unbraid/words"):
            try:
                with urllib.request.urlopen(f"http://{address}:{port}{path}", timeout=3) as answer:
                    raise AssertionError((port, path, answer.status, answer.read(300)))
            except (OSError, urllib.error.URLError):
                pass
    with pytest.raises(ClientError, match=r"InvalidAccessKeyId|AccessDenied|SignatureDoesNotMatch"):
        s3_client(address, *generated_keys().values()).list_buckets()
    with socket.socket() as grpc, pytest.raises(OSError, match=r"reset|closed|timed out"):
        grpc.settimeout(3)
        grpc.connect((address, 18888))
        grpc.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0")
        if not grpc.recv(100):
            raise OSError("closed")


@pytest.mark.parametrize("missing", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_the_pod_does_not_start_without_both_keys(kubelet: Kubelet, missing: str) -> None:
    keys = generated_keys()
    with pytest.raises(AssertionError, match="must both be set, and not empty"):
        s3_pod(kubelet, keys | {missing: ""})
    with pytest.raises(KeyError, match=missing):
        s3_pod(kubelet, {name: value for name, value in keys.items() if name != missing})
