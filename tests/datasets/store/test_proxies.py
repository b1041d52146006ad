"""Proxies in the environment: the local services are reached past them, and an error of a remote server names them."""

import os

import pytest
from click.testing import CliRunner

from unbraid.cluster.cli import main
from unbraid.cluster.local.services import LocalServices, use_local_services
from unbraid.datasets.errors import DataError
from unbraid.datasets.store import open_store
from unbraid.datasets.store.proxies import past_proxies, proxy_note

DEAD = "http://user:secret@127.0.0.1:9"


@pytest.fixture
def proxied(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A proxy that does not answer, for everything."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, DEAD)
    return monkeypatch


def test_the_local_services_are_reached_past_a_proxy(services: LocalServices, proxied: pytest.MonkeyPatch) -> None:
    assert LocalServices(services.folder)._bucket_ready(services.status()["s3"]), "as when it is started"
    use_local_services()
    store = open_store("s3://unbraid/past-proxies")
    store.put("a", b"b")
    assert store.get("a") == b"b"
    listed = CliRunner().invoke(main, ["jobs", "list"])
    assert listed.exit_code == 0, listed.output


def test_hosts_that_are_named_already_stay_named(proxied: pytest.MonkeyPatch) -> None:
    proxied.setenv("NO_PROXY", "intranet, 127.0.0.1")
    assert past_proxies(["127.0.0.1", "localhost"], os.environ) == dict.fromkeys(
        ("no_proxy", "NO_PROXY"), "intranet,127.0.0.1,localhost"
    )


def test_an_error_of_a_remote_server_names_the_proxy_and_no_password(proxied: pytest.MonkeyPatch) -> None:
    for name, value in (("AWS_ENDPOINT_URL", "http://s3.example.com"), ("AWS_ACCESS_KEY_ID", "a"), ("AWS_MAX_ATTEMPTS", "1")):
        proxied.setenv(name, value)
    proxied.setenv("AWS_SECRET_ACCESS_KEY", "b")
    with pytest.raises(DataError) as caught:
        open_store("s3://unbraid/x").get("a")
    assert "by the proxy http://***@127.0.0.1:9 (http_proxy; no_proxy=s3.example.com reaches it without)" in str(caught.value)
    assert "secret" not in str(caught.value)
    listed = CliRunner().invoke(main, ["jobs", "list", "--address", "http://head.example.com:8265"])
    assert listed.exit_code == 1
    assert "no_proxy=head.example.com reaches it without" in listed.output
    assert "secret" not in listed.output


def test_no_proxy_is_said_where_there_is_none(proxied: pytest.MonkeyPatch) -> None:
    proxied.setenv("no_proxy", "s3.example.com")
    assert proxy_note("http://s3.example.com") == ""
    assert proxy_note("head:6379") == ""
    assert proxy_note("http://other.example.com").startswith(", by the proxy http://***@127.0.0.1:9 ")
