"""Finds where a value lies in a JSON document, so that it can be read later without the document."""

import json
import re

LARGEST_DOCUMENT = 1 << 20
"""Bytes."""
_SPACE = re.compile(r"[ \t\n\r]*")


def json_place(content: memoryview, path: tuple[str, ...]) -> tuple[int, int]:
    """Find a number or a text in a JSON object.

    Args:
        path: keys, from the outermost object on.

    Returns:
        First byte and length of the number's digits, or of the text between its quotes.

    Raises:
        ValueError: when the content is no JSON object, lacks a key or has it twice, or the value is neither.
    """
    if len(content) > LARGEST_DOCUMENT:
        raise ValueError(f"the JSON has {len(content):,} bytes, at most {LARGEST_DOCUMENT:,} are read")
    text = bytes(content).decode("latin-1")  # one letter for each byte, so that places are bytes
    decoder = json.JSONDecoder()
    try:
        at = _past_space(text, 0)
        for key in path:
            at = _value_of(text, at, key, decoder)
        value, end = decoder.raw_decode(text, at)
    except RecursionError:
        raise ValueError("the JSON is nested too deep") from None
    except IndexError:
        raise ValueError("the JSON is cut off") from None
    if isinstance(value, str):
        return at + 1, end - at - 2
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{'.'.join(path)} is {str(value)[:40]}, neither a whole number nor a text")
    return at, end - at


def _value_of(text: str, at: int, wanted: str, decoder: json.JSONDecoder) -> int:
    """Return where the value of a key begins in the object at a place."""
    if text[at] != "{":
        raise ValueError(f"no object holds {wanted!r}")
    found = None
    keys = []
    at = _past_space(text, at + 1)
    while text[at] != "}":
        key, at = decoder.raw_decode(text, at)
        at = _past_space(text, at)
        if not isinstance(key, str) or text[at] != ":":
            raise ValueError("no JSON object")
        at = _past_space(text, at + 1)
        keys.append(key.encode("latin-1", "replace").decode(errors="replace"))
        if key.encode("latin-1", "replace") == wanted.encode():
            if found is not None:
                raise ValueError(f"has {wanted!r} twice")
            found = at
        _, at = decoder.raw_decode(text, at)
        at = _past_space(text, at)
        if text[at] == ",":
            at = _past_space(text, at + 1)
    if found is None:
        there = ", ".join(keys[:10]) or "none"
        raise ValueError(f"has no {wanted!r}; its keys are {there}")
    return found


def _past_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found is not None
    return found.end()
