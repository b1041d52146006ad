"""What names no store is refused with what to write; it never becomes a folder of that name."""

from pathlib import Path

import pytest

from unbraid.datasets.errors import DataError
from unbraid.datasets.store import open_store
from unbraid.datasets.store.location import parse_location


@pytest.mark.parametrize(
    ("url", "write"),
    [
        ("s3:/b/x", "write s3://b/x"),
        ("s3:bucket/x", "write s3://bucket/x"),
        ("S3://bucket/x", "write s3://bucket/x"),
        ("S3:/bucket/x", "write s3://bucket/x"),
        ("/home/me/s3:/bucket/x", "write s3://bucket/x"),  # as a configuration makes it absolute
        ("s3a://bucket/x", "write s3://bucket/x"),
        ("gs://bucket/x", "write s3://bucket/x, with AWS_ENDPOINT_URL=https://storage.googleapis.com"),
        ("https://bucket.s3.amazonaws.com/x/y", "write s3://bucket/x/y"),
        ("https://bucket.s3.eu-west-1.amazonaws.com/x", "write s3://bucket/x, with AWS_REGION=eu-west-1"),
        ("https://s3.eu-west-1.amazonaws.com/bucket/x", "write s3://bucket/x, with AWS_REGION=eu-west-1"),
        ("https:/bucket.s3.amazonaws.com/x", "write s3://bucket/x"),
        ("http://127.0.0.1:9000/bucket/x", "write s3://bucket/x, with AWS_ENDPOINT_URL=http://127.0.0.1:9000"),
        ("ftp://host/x", "use s3://bucket/prefix or a folder"),
        ("s3://", "use s3://bucket/prefix"),
        ("s3:///bucket/x", "use s3://bucket/prefix"),
        ("s3://my bucket/x", "use s3://bucket/prefix"),
        ("s3://arn:aws:s3:eu-west-1:1:accesspoint/a/x", "use s3://bucket/prefix"),
    ],
)
def test_a_url_of_no_store_is_refused_with_what_to_write(
    url: str, write: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as error:
        open_store(url, create=True)
    assert write in str(error.value)
    assert str(error.value).startswith(f"{url}: ")
    assert list(tmp_path.iterdir()) == []


def test_folders_with_colons_are_folders() -> None:
    assert parse_location("/data/12:30/x") == Path("/data/12:30/x")
    assert parse_location("./news3:x") == Path("news3:x")
    assert parse_location("file:///data/x") == Path("/data/x")
    assert parse_location("s3://bucket.with-dots/a//b/") == ("bucket.with-dots", "a//b")
