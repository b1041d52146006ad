"""Looks at the wanted members of samples: where each value lies, what it is, and whether training can read it."""

import re
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from unbraid.datasets.indexing.wanted import Wanted
from unbraid.datasets.raw.tally import Tally
from unbraid.datasets.shards.arrays import array_shape, read_array
from unbraid.datasets.shards.codec import decoder_of
from unbraid.datasets.shards.index import Field
from unbraid.datasets.shards.pixels import read_header
from unbraid.datasets.shards.walk import TarSample
from unbraid.datasets.untrusted.places import json_place

LONGEST_WORD = 300
MOST_WORDS = 100_000
_INTEGER = re.compile(rb"-?\d{1,19}")


@dataclass
class Seen:
    """What the values of one field were.

    Attributes:
        shapes: of images (C, H, W) or arrays; how many have each, and an example's key.
        words: texts of numbers or words, and how many samples have each.
        is_plain: whether all images are stored upright, opaque and of 8 bits, as PNG or JPEG.
    """

    shapes: dict[tuple[int, ...], tuple[int, str]] = field(default_factory=dict)
    words: Counter[str] = field(default_factory=Counter)
    is_plain: bool = True

    def add_shape(self, shape: tuple[int, ...], key: str, count: int = 1) -> None:
        """Count a shape."""
        before, example = self.shapes.get(shape, (0, key))
        self.shapes[shape] = (before + count, example)


class UnreadableError(Exception):
    """A value that training could not read; the message says which and why."""


class Values:
    """Finds and looks at the values of the wanted fields of samples.

    Attributes:
        seen: what the values of each field were.
        left_out: samples that lack a field.
    """

    def __init__(self, wanted: list[Wanted], decode: bool) -> None:
        self.wanted = wanted
        self.decode = decode
        self.seen = {want.name: Seen() for want in wanted}
        self.left_out = Tally()

    def places(self, sample: TarSample) -> dict[str, tuple[int, int]] | None:
        """Return where the value of each field lies in a sample; None where one is missing, which is counted.

        Raises:
            UnreadableError: when training could not read a value.
        """
        places: dict[str, tuple[int, int]] = {}
        looks: list[tuple[Wanted, memoryview]] = []
        for want in self.wanted:
            extension = next((member for member in want.members if member in sample.members), None)
            if extension is None:
                self.left_out.add(f"samples without {' or '.join(want.members)} for the field {want.name}", sample.key)
                return None
            begin, length = sample.members[extension]
            if want.path:
                try:
                    inner, length = json_place(sample.member(extension), want.path)
                except ValueError as error:
                    raise UnreadableError(f"sample {sample.key}: its {want.name} cannot be read ({error})") from None
                begin += inner
            places[want.name] = (begin, length)
            looks.append((want, memoryview(sample.content)[begin : begin + length]))
        for want, content in looks:
            try:
                self._look(want, content, sample.key)
            except Exception as error:  # decoders raise many kinds of damaged content
                raise UnreadableError(f"sample {sample.key}: its {want.name} cannot be read ({error})") from None
        return places

    def _look(self, want: Wanted, content: memoryview, key: str) -> None:
        seen = self.seen[want.name]
        if want.kind == "image":
            header = read_header(bytes(content))
            seen.add_shape(header.shape, key)
            seen.is_plain &= header.is_plain
            if self.decode:
                in_memory = (header.height, header.width, header.channels)
                decoder = decoder_of(Field("image", want.members, header.shape, header.is_plain))
                decoder(content, np.empty((1, *in_memory), np.uint8))
        elif want.kind == "array":
            shape = array_shape(content)
            read_array(content, shape)
            seen.add_shape(shape, key)
        else:
            word = bytes(content).strip()
            if len(word) > LONGEST_WORD or not word:
                raise ValueError(f"it has {len(word)} letters")
            text = word.decode("utf-8")
            if text not in seen.words and len(seen.words) >= MOST_WORDS and not _INTEGER.fullmatch(word):
                raise ValueError(f"more than {MOST_WORDS:,} different words are no classes")
            seen.words[text] += 1
