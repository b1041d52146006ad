"""Held out for validation: whole groups, by their names alone, of the training split alone."""

import pytest

from unbraid.datasets.packing.validation import with_validation
from unbraid.datasets.sources.source import Item, Source

GROUPS, EACH = 200, 5


def source(groups: int = GROUPS, **further: tuple[Item, ...]) -> Source:
    train = [Item(f"{i:03d}", dict, "", group=f"person {i % groups}") for i in range(groups * EACH)]
    return Source("people", {}, {"train": train, "test": [Item("t", dict, "")], **further})


def groups_of(split: list[Item]) -> set[str]:
    return {item.group for item in split}


def test_whole_groups_are_held_out_and_nothing_is_lost() -> None:
    found = with_validation(source(), 0.2)
    train, validation = list(found.splits["train"]), list(found.splits["validation"])
    assert not groups_of(train) & groups_of(validation)
    assert sorted(item.key for item in train + validation) == [item.key for item in source().splits["train"]]
    assert 20 <= len(groups_of(validation)) <= 60
    assert found.splits["test"] == source().splits["test"]
    assert found.understood[-1].startswith(f"held out {len(groups_of(validation))} of {GROUPS} groups of train for validation")


def test_more_people_never_move_the_others() -> None:
    before, after = (groups_of(list(with_validation(source(n), 0.2).splits["validation"])) for n in (GROUPS, 2 * GROUPS))
    assert before < after
    assert {group for group in after if int(group.split()[1]) < GROUPS} == before


def test_a_split_by_a_hash_of_the_same_names_is_independent() -> None:
    """Otherwise those that a test split by hash leaves over would all be on one side."""
    from unbraid.datasets.raw.names import split_by_hash

    names = [f"{i}" for i in range(2000)]
    left = [Item(name, dict, "") for name in names if split_by_hash(name, 0.1) == "train"]
    held_out = with_validation(Source("set", {}, {"train": left}), 0.1).splits["validation"]
    assert 0.07 < len(held_out) / len(left) < 0.13


@pytest.mark.parametrize("groups", [2, 3])
def test_of_few_groups_one_is_held_out_and_one_is_left(groups: int) -> None:
    for share in (0.001, 0.9):
        found = with_validation(source(groups), share)
        assert len(found.splits["train"]) >= EACH
        assert len(found.splits["validation"]) >= EACH


def test_sets_that_have_one_keep_it_and_a_single_group_is_not_divided() -> None:
    own = with_validation(source(validation=(Item("v", dict, ""),)), 0.5)
    assert [item.key for item in own.splits["validation"]] == ["v"]
    assert "validation" not in with_validation(source(), 0).splits
    one = with_validation(source(1), 0.5)
    assert "validation" not in one.splits
    assert one.understood == ["held out nothing for validation: all of train is one group"]
