"""Says which members of tars become which fields: as the user names them, or as their extensions tell."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from unbraid.datasets.errors import DataError
from unbraid.datasets.raw.images import IMAGE_SUFFIXES
from unbraid.datasets.shards.index import FieldKind
from unbraid.datasets.shards.walk import TarSample

IMAGE_EXTENSIONS = tuple(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))
NUMBER_EXTENSIONS = ("cls", "cls2", "index", "inx", "id", "txt")
"""Extensions that hold one number, or one word, as text; WebDataset's own names for it first."""
_SPEC = re.compile(r"(?P<name>[A-Za-z_]\w*)=(?P<members>[^=:,]+)(?::(?P<path>[^=,]+))?")


@dataclass(frozen=True)
class Wanted:
    """A field that is wanted of every sample.

    Attributes:
        name: of the field.
        kind: of its values.
        members: extensions that may hold it.
        path: of a value in a JSON member, keys with dots between; empty where the member is the value.
    """

    name: str
    kind: FieldKind
    members: tuple[str, ...]
    path: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}={';'.join(self.members)}{':' + '.'.join(self.path) if self.path else ''}"


def parse_fields(text: str) -> list[Wanted]:
    """Read ``image=jpg;png,label=cls`` or ``label=json:class``.

    Raises:
        DataError: when it is written otherwise.
    """
    fields = []
    for part in text.split(","):
        found = _SPEC.fullmatch(part.strip())
        if found is None:
            raise DataError(f"--fields {part!r}: expected NAME=EXTENSION;EXTENSION, such as image=jpg;png, or label=json:class")
        members = tuple(member.strip().lower().lstrip(".") for member in found["members"].split(";"))
        path = tuple(found["path"].split(".")) if found["path"] else ()
        fields.append(Wanted(found["name"], _kind(part, members, path), members, path))
    names = [field.name for field in fields]
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise DataError(f"--fields: names {double!r} twice")
    return fields


def guess_fields(samples: Sequence[TarSample], where: str) -> list[Wanted]:
    """Take for fields what the extensions of some samples tell: images, and numbers called ``cls``.

    Images with a prefix, such as ``left.png``, become fields of that name.

    Raises:
        DataError: when there are no images, or a sample has two that could be the same field.
    """
    found: dict[str, list[str]] = {}
    for sample in samples:
        of_sample: dict[str, str] = {}
        for extension in sample.members:
            prefix, _, last = extension.rpartition(".")
            if last not in IMAGE_EXTENSIONS:
                continue
            name = re.sub(r"\W", "_", prefix) or "image"
            if name in of_sample:
                raise DataError(
                    f"{where}: sample {sample.key} has the images {of_sample[name]} and {extension}: say which one is wanted, "
                    f"--fields image={extension}"
                )
            of_sample[name] = extension
            if extension not in found.setdefault(name, []):
                found[name].append(extension)
    if not found:
        extensions = ", ".join(sorted({extension for sample in samples for extension in sample.members})) or "none"
        raise DataError(f"{where}: no images among its members ({extensions}): say which are, --fields image=EXTENSION")
    fields = [Wanted(name, "image", tuple(sorted(extensions))) for name, extensions in found.items()]
    if all("cls" in sample.members for sample in samples):
        fields.append(Wanted("label", "integer", ("cls",)))
    return fields


def unused_members(samples: Sequence[TarSample], fields: Sequence[Wanted]) -> list[str]:
    """Say which members become no field, how many of some samples have them, and how to name them."""
    used = {member for field in fields for member in field.members}
    counts = Counter(extension for sample in samples for extension in sample.members if extension not in used)
    return [
        f"{extension}, which {count:,} of the first {len(samples):,} samples have (--fields {_example(extension)})"
        for extension, count in counts.most_common()
    ]


def _example(extension: str) -> str:
    last = extension.rpartition(".")[2]
    if last == "json":
        return f"label={extension}:KEY"
    return f"{'label' if last in NUMBER_EXTENSIONS else last}={extension}"


def _kind(part: str, members: tuple[str, ...], path: tuple[str, ...]) -> FieldKind:
    last = {member.rpartition(".")[2] for member in members}
    if path:
        if last != {"json"}:
            raise DataError(f"--fields {part!r}: a path is for a JSON member, such as label=json:class")
        return "integer"
    for kind, extensions in (("image", IMAGE_EXTENSIONS), ("array", ("npy",)), ("integer", NUMBER_EXTENSIONS)):
        if last <= set(extensions):
            return kind  # type: ignore[return-value]
    raise DataError(
        f"--fields {part!r}: expected extensions of images ({', '.join(IMAGE_EXTENSIONS)}), of numbers "
        f"({', '.join(NUMBER_EXTENSIONS)}), npy, or json with a path, such as label=json:class"
    )
