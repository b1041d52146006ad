"""YAML by the core schema of YAML 1.2, within bounds."""

from typing import Any

import pytest
import yaml

from unbraid.datasets.untrusted.yaml12 import DEEPEST, LARGEST, parse_scalars, parse_yaml, plain


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e3", 1000.0), ("010", 10), ("-7", -7), ("+1.e2", 100.0), (".5", 0.5), ("0x1F", 31), ("0o17", 15),
        ("true", True), ("False", False), ("null", None), ("~", None), ("a:", {"a": None}),
        ("yes", "yes"), ("no", "no"), ("on", "on"), ("1:30", "1:30"), ("2024-01-02", "2024-01-02"), ("1_000", "1_000"),
        ("'5'", "5"), ("!!str 5", "5"), ("1: a", {"1": "a"}), ("- 1\n- [a, {b: no}]", [1, ["a", {"b": "no"}]]),
    ],
)  # fmt: skip
def test_scalars_are_those_of_the_core_schema(text: str, value: Any) -> None:
    assert parse_yaml(text) == value
    assert type(parse_yaml(text)) is type(value)


def test_the_text_of_a_scalar_is_kept() -> None:
    content = parse_scalars("a: 010\nb: [1e3, x]")
    assert content["a"].text == "010"
    assert content["b"][0].text == "1e3"
    assert plain(content) == {"a": 10, "b": [1000.0, "x"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2", "line 4, column 3: the key 'c' comes twice; keep one of them"),
        ("a: [", "line 1, column 5: "),
        ("a: *b", r"an alias \(\*b\) is not read"),
        ("!!python/object:os.system x", r"line 1, column 1: a tag .* is not read"),
        ("!!binary aGk=", r"a tag .* is not read"),
        ("? [1]\n: 2", "line 1, column 3: a key has to be a text"),
        ("[" * (DEEPEST + 5), "nested deeper than"),
        ("a" * (LARGEST + 1), "at most 262,144 are read"),
        (b"a: 1\nb: caf\xe9", "line 2, column 7: is not text in UTF-8; save the file as UTF-8"),
        ("a: 1".encode("utf-16"), "line 1, column 1: is not text in UTF-8"),
        (b"a: \x00", "a character that YAML does not have"),
        ("9" * 5000, "."),
    ],
)
def test_what_is_not_read_is_one_line_with_its_place(text: str | bytes, message: str) -> None:
    with pytest.raises(yaml.YAMLError, match=message) as caught:
        parse_yaml(text)
    assert "\n" not in str(caught.value)


def test_bytes_may_begin_with_a_byte_order_mark() -> None:
    assert parse_yaml(b"\xef\xbb\xbfa: 1") == {"a": 1}
