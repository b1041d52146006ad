"""What servers refuse is told as what it is: bucket, request, cause, remedy, endpoint and region, on one line, at once."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.datasets.store import played_s3 as played
from tests.datasets.store.played_s3 import BUCKET, Answer, Play, page
from unbraid.datasets.errors import DataError
from unbraid.datasets.store import RefusedError, Store, UnconditionalError, discard, open_store, tidying
from unbraid.datasets.store.retry import Backoff

URL = f"s3://{BUCKET}/set"
SLOW_DOWN = played.error(503, "SlowDown", "Please reduce your request rate.", "put")


def read(store: Store) -> object:
    return store.get("index.json")


def read_part(store: Store) -> object:
    return store.get_range("index.json", 0, 4)


def write(store: Store) -> None:
    store.put("index.json", b"{}")


def claim(store: Store) -> object:
    return store.put_new("index.json", b"{}")


def listing(store: Store) -> object:
    return store.keys()


def delete(store: Store) -> None:
    store.delete("index.json")


def create(store: Store) -> object:
    return open_store(URL, create=True)


EVERY = (read, read_part, write, claim, listing, delete, create)
REFUSALS: list[tuple[str, Answer, tuple[Callable[[Store], object], ...], tuple[str, ...]]] = [
    ("expired token", played.EXPIRED, EVERY, ("credentials have expired", "ExpiredToken", "renew them")),
    ("invalid token", played.INVALID_TOKEN, EVERY, ("refused the session token", "InvalidToken", "AWS_SESSION_TOKEN")),
    ("skewed clock", played.SKEWED, EVERY, ("clock is wrong", "2025-09-03T16:21:50Z", "NTP")),
    ("moved", played.MOVED, EVERY, ("is in region eu-west-1: set AWS_REGION=eu-west-1, not us-east-1", "PermanentRedirect")),
    ("other region", played.OTHER_REGION, EVERY, ("is in region eu-west-1: set AWS_REGION=eu-west-1", "HeaderMalformed")),
    ("unlistable", played.UNLISTABLE, (listing, create), ("may not list in bucket 'played'", "allow s3:ListBucket")),
    ("unreadable", played.UNREADABLE, (read, read_part), ("may not read in bucket 'played'", "s3:GetObject", "missing object")),
    ("requester pays", played.REQUESTER_PAYS, (read, listing), ("requester pays", "a bucket of your own")),
    ("read-only", played.READ_ONLY, (write, claim), ("may not write in bucket 'played'", "allow s3:PutObject")),
    ("append-only", played.APPEND_ONLY, (delete,), ("may not delete in bucket 'played'", "allow s3:DeleteObject")),
    ("Ceph's quota", played.CEPH_QUOTA, (write, claim), ("no space left for bucket 'played'", "QuotaExceeded", "larger quota")),
    ("MinIO's quota", played.MINIO_QUOTA, (write,), ("no space left", "Bucket quota exceeded")),
    ("MinIO's disks", played.MINIO_FULL, (write, claim), ("no space left", "minimum free drive threshold")),
    ("507", played.FULL, (write,), ("no space left", "InsufficientStorage")),
    ("no right to a key", played.NO_KEY, (write,), ("the key that encrypts bucket 'played'", "allow kms:GenerateDataKey")),
    ("disabled key", played.KEY_OFF, (read,), ("the key that encrypts bucket 'played'", "is disabled")),
    ("405", played.NOT_ALLOWED, (write,), ("does not do PutObject here", "not allowed against this resource")),
    ("501", played.NOT_IMPLEMENTED, (write, listing), ("this server does not do", "NotImplemented")),
    ("R2's keys", played.R2_UNAUTHORIZED, EVERY, ("S3 refused the keys (Unauthorized)", "AWS_ACCESS_KEY_ID")),
    ("login page", page(200), (read, read_part, write, claim, listing, delete, create), ("not as S3 does",)),
    ("login page in XML", page(200, played.WELL_FORMED_PAGE), EVERY, ("not as S3 does", "200, text/html", "a login page")),
    ("redirect to a login page", page(302, "", Location="https://sso.example.com/login"), EVERY, ("not as S3 does", "302")),
    ("404 of a web server", page(404, "404 page not found"), EVERY, ("not as S3 does (404, text/html)",)),
    ("403 of a proxy", page(403, "<html>Forbidden</html>"), EVERY, ("not as S3 does (403, text/html)",)),
    ("an https port", Answer(400, "Client sent an HTTP request to an HTTPS server.", headers={}), EVERY, ("want https?",)),
    ("an empty 200", Answer(200, "", headers={}), (read, write, claim, listing), ("not as S3 does",)),
    ("JSON", Answer(200, '{"ok": 1}', headers={"Content-Type": "application/json"}), (read, listing), ("not as S3 does",)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "act", "words"),
    [pytest.param(answer, act, words, id=f"{name}-{act.__name__}") for name, answer, acts, words in REFUSALS for act in acts],
)
def test_a_refusal_is_told_as_what_it_is_and_not_repeated(
    play: Play, answer: Answer, act: Callable[[Store], object], words: tuple[str, ...]
) -> None:
    server = play(answer)
    with pytest.raises(DataError) as error:
        act(open_store(URL))
    message = str(error.value)
    for word in words:
        assert word in message
    assert message.startswith(URL)
    assert f"at {server.url} (AWS_ENDPOINT_URL), region us-east-1 (default)]" in message
    assert "\n" not in message
    assert "times in a row" not in message
    assert not server.objects or set(server.objects) == {"set/index.json"}
    asked = [request for request in server.requests if request[0] in answer.to]
    assert len(asked) <= 2  # boto3 asks once more where an answer names another region


def test_after_a_put_that_nobody_stored_no_success_is_reported(play: Play, tmp_path: Path) -> None:
    play(page(200, "", "put"))
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(b"1234")
    with large.open("wb") as file:
        file.truncate(65 << 20)
    with pytest.raises(DataError, match="not as S3 does"):
        open_store(URL).put_file("small.tar", small)
    with pytest.raises(DataError):
        open_store(URL).put_file("large.tar", large)


def test_a_large_file_that_is_stored_short_is_an_error(services: object, bucket_url: str, tmp_path: Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate((65 << 20) + 1)
    store = open_store(bucket_url)
    store.put_file("large.tar", large)
    assert store.sizes() == {"large.tar": (65 << 20) + 1}
    store.sizes = lambda prefix="": {"large.tar": 65 << 20}  # type: ignore[method-assign]
    with pytest.raises(DataError, match=r"large\.tar: 68,157,441 bytes were written, 68,157,440 bytes are stored"):
        store.put_file("large.tar", large)


@pytest.mark.parametrize("size", [0, 5, 9 << 20])
def test_a_file_of_one_request_arrives_whole_after_a_failed_attempt(play: Play, tmp_path: Path, size: int) -> None:
    server = play(replace(SLOW_DOWN, times=2))
    path = tmp_path / "file"
    path.write_bytes(os.urandom(size))
    store = open_store(URL)
    store.put_file("a.tar", path)
    assert server.objects == {"set/a.tar": path.read_bytes()}
    assert store.statistics.retries["SlowDown"] == 2
    assert store.sizes("a") == {"a.tar": size}


def test_a_server_without_tls_is_named_at_once(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    server = play()
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url.replace("http://", "https://"))
    store = open_store(URL)
    with pytest.raises(DataError, match=r"S3 at https://.* could not be asked \(it does not speak TLS: write http://"):
        store.get("index.json")
    assert not store.statistics.retries


def test_a_server_that_is_not_there_is_waited_for_only_by_those_who_say_so(play: Play) -> None:
    server = play()
    server.shutdown()
    server.server_close()
    for waits in (0.0, 3.0):
        store = open_store(URL, backoff=Backoff(attempts=3, first=0.05, longest=0.1, retry_seconds=waits))
        with pytest.raises(DataError, match=r"S3 at http://.* did not serve it \(EndpointConnectionError") as error:
            store.get("index.json")
        assert ("times in a row" in str(error.value)) == bool(waits)
        assert (store.statistics.retries["Unreachable"] > 2) == bool(waits)


def test_a_login_that_has_ended_is_no_trouble_of_the_server(
    play: Play, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    play()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    (tmp_path / "none").write_text("[default]\ncredential_process = false\n")
    with pytest.raises(DataError, match="its settings cannot be used: Error when retrieving credentials from custom-process"):
        open_store(URL).get("index.json")


def test_a_missing_file_is_an_error_that_names_both(play: Play, tmp_path: Path) -> None:
    play()
    with pytest.raises(DataError, match=rf"nowhere: No such file .*{URL}"):
        open_store(URL).put_file("a.tar", tmp_path / "nowhere")


def test_a_server_that_ignores_ranges_is_named(play: Play) -> None:
    server = play()
    server.honours_ranges = False
    server.objects["set/a.tar"] = b"0123456789"
    store = open_store(URL)
    assert store.get("a.tar") == b"0123456789"
    with pytest.raises(DataError, match=r"a request for a part with the whole object: .*\(ranged GET\)"):
        store.get_range("a.tar", 5, 2)


def test_a_missing_bucket_is_made_in_the_region_that_was_asked_for(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    for region, constraint in (
        ("eu-west-1", b"<LocationConstraint>eu-west-1</LocationConstraint>"),
        ("us-east-1", b""),
        ("auto", b""),
    ):
        server = play()
        server.has_bucket = False
        monkeypatch.setenv("AWS_REGION", region)
        open_store(URL, create=True)
        assert server.has_bucket
        (body,) = server.bodies
        assert constraint in body
        assert bool(constraint) == bool(body)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (played.TAKEN, "bucket name 'played' is taken by somebody else (BucketAlreadyExists): choose another one"),
        (played.UNCREATABLE, "there is no bucket 'played', and these keys may not create it"),
        (played.ILLEGAL_LOCATION, "makes no bucket 'played' in region us-east-1"),
        (
            played.error(400, "InvalidLocationConstraint", "The specified location-constraint is not valid", "create"),
            "AWS_REGION",
        ),
    ],
)
def test_a_bucket_that_cannot_be_made_says_why(play: Play, answer: Answer, words: str) -> None:
    server = play(answer)
    server.has_bucket = False
    with pytest.raises(DataError, match="CreateBucket at") as error:
        open_store(URL, create=True)
    assert words in str(error.value)


def test_a_bucket_that_another_process_has_made_meanwhile_is_there(play: Play) -> None:
    server = play(played.error(409, "BucketAlreadyOwnedByYou", "Your previous request succeeded", "create"))
    server.has_bucket = False
    assert open_store(URL, create=True).url == URL


def test_without_a_bucket_it_is_named_for_every_request(play: Play) -> None:
    play().has_bucket = False
    for act in (read, read_part, write, claim, listing, delete):
        with pytest.raises(DataError, match="there is no bucket 'played'; create it, or correct the URL"):
            act(open_store(URL))


def test_a_new_object_is_written_once(play: Play) -> None:
    server = play()
    store, other = open_store(URL), open_store(URL)
    assert store.put_new("a/b", b"mine")
    assert not other.put_new("a/b", b"yours")
    assert other.put_new("c", b"yours")
    assert server.objects == {"set/a/b": b"mine", "set/c": b"yours"}
    before = len(server.requests)
    assert store.put_new("d", b"mine")
    assert len(server.requests) == before + 1  # the store was tried once


@pytest.mark.parametrize("answer", [played.UNCONDITIONAL, played.UNCONDITIONAL_400, None])
def test_a_store_without_conditional_writes_is_named_and_nothing_is_overwritten(play: Play, answer: Answer | None) -> None:
    server = play(*[answer] * (answer is not None))
    server.honours_conditions = False
    server.objects["set/a"] = b"theirs"
    store = open_store(URL)
    for key in ("a", "b"):
        with pytest.raises(UnconditionalError, match=rf"{URL}/{key}: this store has no conditional writes") as error:
            store.put_new(key, b"mine")
        assert server.url in str(error.value)
    assert server.objects == {"set/a": b"theirs"}
    assert len([request for request in server.requests if request[0] == "put-new"]) <= 2


def test_a_conflict_of_conditional_writes_is_repeated(play: Play) -> None:
    server = play(replace(played.CONFLICT, times=2))
    assert open_store(URL).put_new("a", b"mine")
    assert server.objects == {"set/a": b"mine"}


def test_what_may_not_be_deleted_stays_and_is_said_once(
    play: Play, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tidying, "_said", set())
    server = play(played.APPEND_ONLY)
    store = open_store(URL)
    for key in ("a", "b", "c"):
        store.put(key, b"1")
    with pytest.raises(RefusedError):
        store.delete("a")
    discard(store, ["a", "b"])
    discard(open_store(f"s3://{BUCKET}/other"), ["c"])
    assert store.keys() == ["a", "b", "c"]
    (record,) = caplog.records
    assert "may not delete in bucket 'played'" in record.getMessage()
    server.answers.clear()
    discard(store, ["a", "b"])
    assert store.keys() == ["c"]


def test_a_server_that_is_away_ends_tidying_as_it_ends_all_else(play: Play) -> None:
    play(replace(SLOW_DOWN, to=("delete",)))
    with pytest.raises(DataError, match=r"SlowDown.*3 times in a row"):
        discard(open_store(URL), ["a"])
