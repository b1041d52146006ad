"""Endpoint, region, profile and retries are those that boto3 and every other AWS client would use, and errors say whence."""

import os
from pathlib import Path

import pytest

from unbraid.datasets.errors import DataError
from unbraid.datasets.store.session import connect
from unbraid.datasets.store.session import require_endpoint as checked

CONFIG = """
[default]
region = eu-north-1
[profile work]
region = eu-west-3
endpoint_url = https://global.example.com
max_attempts = 3
[profile served]
endpoint_url = https://global.example.com
services = lab
[services lab]
s3 =
  endpoint_url = https://s3.lab.example.com/gateway
[profile many]
max_attempts = often
[profile dangling]
services = nowhere
"""


@pytest.fixture(autouse=True)
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Profiles and keys of a user, and no variable of this machine's."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    (tmp_path / "config").write_text(CONFIG)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    return monkeypatch


@pytest.mark.parametrize(
    ("variables", "region", "origin"),
    [
        ({"AWS_REGION": "ap-south-1", "AWS_DEFAULT_REGION": "eu-west-1"}, "ap-south-1", "AWS_REGION"),
        ({"AWS_REGION": "", "AWS_DEFAULT_REGION": "eu-west-1", "AWS_PROFILE": "work"}, "eu-west-1", "AWS_DEFAULT_REGION"),
        ({"AWS_PROFILE": "work"}, "eu-west-3", "profile work"),
        ({}, "eu-north-1", "profile default"),
        ({"AWS_PROFILE": "served"}, "us-east-1", "default"),
    ],
)
def test_the_region_is_resolved_in_order(aws: pytest.MonkeyPatch, variables: dict[str, str], region: str, origin: str) -> None:
    for name, value in variables.items():
        aws.setenv(name, value)
    connection = connect()
    assert (connection.region, connection.region_origin) == (region, origin)
    assert connection.client(1, 1, 1).meta.region_name == region
    assert f"region {region} ({origin})" in str(connection)


@pytest.mark.parametrize(
    ("variables", "endpoint", "origin"),
    [
        (
            {"AWS_ENDPOINT_URL_S3": "http://one:1", "AWS_ENDPOINT_URL": "http://two:2", "AWS_PROFILE": "served"},
            "http://one:1",
            "AWS_ENDPOINT_URL_S3",
        ),
        ({"AWS_ENDPOINT_URL": "http://two:2/s3/", "AWS_PROFILE": "served"}, "http://two:2/s3/", "AWS_ENDPOINT_URL"),
        ({"AWS_PROFILE": "served"}, "https://s3.lab.example.com/gateway", "profile served, services lab"),
        ({"AWS_PROFILE": "work"}, "https://global.example.com", "profile work"),
        ({"AWS_REGION": "eu-west-1"}, "https://s3.eu-west-1.amazonaws.com", "default"),
        (
            {"AWS_ENDPOINT_URL": "http://two:2", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
            "https://s3.eu-north-1.amazonaws.com",
            "default",
        ),
    ],
)
def test_the_endpoint_is_the_one_that_boto3_asks(
    aws: pytest.MonkeyPatch, variables: dict[str, str], endpoint: str, origin: str
) -> None:
    for name, value in variables.items():
        aws.setenv(name, value)
    connection = connect()
    assert (connection.endpoint, connection.endpoint_origin) == (endpoint, origin)
    assert connection.client(1, 1, 1).meta.endpoint_url == endpoint


def test_a_path_of_the_endpoint_is_part_of_the_address_of_an_object(aws: pytest.MonkeyPatch) -> None:
    aws.setenv("AWS_ENDPOINT_URL", "http://gateway:2/s3")
    client = connect().client(1, 1, 1)
    address = client.generate_presigned_url("get_object", Params={"Bucket": "sets", "Key": "a/index.json"})
    assert address.startswith("http://gateway:2/s3/sets/a/index.json?")


@pytest.mark.parametrize(
    ("endpoint", "problem", "suggestion"),
    [
        ("localhost:8333", "has no scheme", "http://localhost:8333"),
        ("127.0.0.1", "has no scheme", "http://127.0.0.1"),
        ("minio.lab:9000", "has no scheme", "http://minio.lab:9000"),
        ("s3.example.com", "has no scheme", "https://s3.example.com"),
        ("http:/s3.example.com", "has no scheme", "https://s3.example.com"),
        ("s3://sets/mnist", "has the scheme 's3'", "https://sets/mnist"),
        (" http://s3.example.com ", "has white space in it", "http://s3.example.com"),
        ("http://s3.example .com", "has white space in it", "http://s3.example.com"),
        ("http://s3:port", "Port could not be cast", "https://s3.example.com:9000"),
        ("http://", "is not the address of a server", "https://s3.example.com"),
        ("http://s3.example.com?x=1", "is not the address of a server", "http://s3.example.com"),
    ],
)
def test_an_endpoint_that_is_none_is_refused_with_a_suggestion(endpoint: str, problem: str, suggestion: str) -> None:
    with pytest.raises(DataError) as error:
        checked(endpoint, "AWS_ENDPOINT_URL")
    assert str(error.value).startswith("S3: AWS_ENDPOINT_URL: the endpoint ")
    assert problem in str(error.value)
    assert str(error.value).endswith(f"did you mean {suggestion}?")


def test_the_suggested_endpoints_are_endpoints() -> None:
    for endpoint in ("http://localhost:8333", "https://s3.example.com/gateway/", "HTTPS://[::1]:9000"):
        assert checked(endpoint, "x") == endpoint


def test_a_password_in_an_endpoint_is_not_shown(aws: pytest.MonkeyPatch) -> None:
    aws.setenv("AWS_ENDPOINT_URL", "http://me:very-secret@s3.example.com?x")
    with pytest.raises(DataError, match="AWS_ENDPOINT_URL") as error:
        connect()
    assert "very-secret" not in str(error.value)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"AWS_PROFILE": "wrok"}, r"AWS_PROFILE: no profile 'wrok' in .*\(there: .*work.*\)"),
        ({"AWS_SECRET_ACCESS_KEY": ""}, "AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not"),
        ({"AWS_ACCESS_KEY_ID": ""}, "AWS_SECRET_ACCESS_KEY is set and AWS_ACCESS_KEY_ID is not"),
        ({"AWS_MAX_ATTEMPTS": "often"}, "AWS_MAX_ATTEMPTS: 'often' is not a number of attempts"),
        ({"AWS_MAX_ATTEMPTS": ""}, "AWS_MAX_ATTEMPTS: '' is not a number of attempts"),
        ({"AWS_PROFILE": "many"}, "max_attempts of profile many: 'often' is not a number"),
        ({"AWS_PROFILE": "dangling"}, "its settings cannot be used: .*nowhere"),
        ({"AWS_REGION": "eu west"}, "AWS_REGION: 'eu west' is not the name of a region"),
    ],
)
def test_settings_that_cannot_be_used_are_one_error_that_names_them(
    aws: pytest.MonkeyPatch, variables: dict[str, str], message: str
) -> None:
    for name, value in variables.items():
        aws.setenv(name, value)
    with pytest.raises(DataError, match=f"^S3: {message}") as error:
        connect()
    assert "\n" not in str(error.value)


def test_half_a_pair_of_keys_in_a_profile_is_named(aws: pytest.MonkeyPatch, tmp_path: Path) -> None:
    aws.delenv("AWS_ACCESS_KEY_ID")
    aws.delenv("AWS_SECRET_ACCESS_KEY")
    (tmp_path / "credentials").write_text("[default]\naws_access_key_id = a\n")
    with pytest.raises(DataError, match=r"half a pair of keys .*aws_secret_access_key"):
        connect()


@pytest.mark.parametrize(
    ("variables", "attempts"),
    [
        ({}, 8),
        ({"AWS_PROFILE": "work"}, 3),
        ({"AWS_PROFILE": "work", "AWS_MAX_ATTEMPTS": "5"}, 5),
        ({"AWS_MAX_ATTEMPTS": "0"}, 1),
    ],
)
def test_attempts_come_from_the_variable_then_the_profile(
    aws: pytest.MonkeyPatch, variables: dict[str, str], attempts: int
) -> None:
    for name, value in variables.items():
        aws.setenv(name, value)
    assert connect().attempts == attempts
