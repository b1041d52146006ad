"""Folders and a real S3 server behave alike, and their errors name the cause."""

import os
import stat
from pathlib import Path

import pytest

from unbraid.datasets.errors import DataError
from unbraid.datasets.store import AbsentError, open_store


@pytest.fixture(params=["folder", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path) if request.param == "folder" else str(request.getfixturevalue("bucket_url"))


def test_what_is_put_is_got(url: str, tmp_path: Path) -> None:
    store = open_store(url)
    store.put("a/b.bin", b"0123456789")
    assert store.get("a/b.bin") == b"0123456789"
    assert bytes(store.get_range("a/b.bin", 3, 4)) == b"3456"
    assert store.exists("a/b.bin")
    assert not store.exists("a/b")
    large = tmp_path / "large.source"
    large.write_bytes(os.urandom(9 << 20))
    store.put_file("a/large", large)
    assert store.get("a/large") == large.read_bytes()
    assert store.keys("a/") == ["a/b.bin", "a/large"]
    assert store.sizes("a/") == {"a/b.bin": 10, "a/large": 9 << 20}
    assert store.sizes("a/l") == {"a/large": 9 << 20}
    store.delete("a/b.bin")
    store.delete("a/b.bin")
    assert not store.exists("a/b.bin")


def test_a_missing_object_is_named(url: str) -> None:
    with pytest.raises(DataError, match=r"nowhere\.json: no such"):
        open_store(url).get("nowhere.json")


def test_a_range_beyond_the_end_is_an_error(url: str) -> None:
    store = open_store(url)
    store.put("short", b"0123456789")
    with pytest.raises(DataError, match="ends 5 bytes early"):
        store.get_range("short", 5, 10)


def test_a_missing_bucket_is_named(services: object) -> None:
    with pytest.raises(DataError, match="there is no bucket 'no-such-bucket'"):
        open_store("s3://no-such-bucket/set").get("index.json")


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1"])
def test_a_missing_bucket_is_created_on_request(services: object, region: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", region)
    open_store(f"s3://made-in-{region}/x", create=True).put("a", b"1")
    assert open_store(f"s3://made-in-{region}/x").get("a") == b"1"


def test_wrong_keys_are_named(services: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(DataError, match=r"refused the keys .* check AWS_ACCESS_KEY_ID"):
        open_store("s3://unbraid/set").get("index.json")


def test_a_server_that_does_not_answer_is_named(services: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(DataError, match=r"S3 at http://127\.0\.0\.1:9 did not serve it"):
        open_store("s3://unbraid/set").get("index.json")


@pytest.mark.parametrize(
    ("url", "message"), [("gs://bucket/x", "unknown kind of store 'gs'"), ("s3://ab/x", "not a bucket name")]
)
def test_a_malformed_url_is_refused(url: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_store(url)


def test_a_write_that_fails_leaves_the_old_content(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.put("a", b"old")
    with pytest.raises(DataError):
        store.put_file("a", tmp_path / "missing-source")
    assert store.get("a") == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644


def test_without_any_keys_it_says_where_to_get_some(services: object, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "none")
    with pytest.raises(DataError, match="no keys for S3: start a server of your own with `unbraid local up`"):
        open_store("s3://unbraid/set").get("index.json")


def test_a_moved_object_is_under_its_new_key_alone(url: str) -> None:
    store = open_store(url)
    store.put("a/b.bin", b"0123456789")
    store.put("c/d.bin", b"other")
    store.move("a/b.bin", "c/d.bin")
    assert store.get("c/d.bin") == b"0123456789"
    assert store.keys() == ["c/d.bin"]
    with pytest.raises(AbsentError):
        store.move("a/b.bin", "e/f.bin")
    assert store.keys() == ["c/d.bin"]
