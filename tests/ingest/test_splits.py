from __future__ import annotations

import random
from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isnet_cli.config.schema import ImageSet, Split
from isnet_cli.errors import IsnetError
from isnet_cli.images.types import Row
from isnet_cli.ingest.splits import (
    DEFAULT_SETS,
    NEGATIVE,
    Group,
    assign_sets,
    list_classes,
    split_groups,
)


def image(number: int, label: str = "x", **values: str) -> Row:
    return Row(key=f"image{number:04}", label=label, **values)


def split(
    rows: list[Row],
    patients: list[str] | None = None,
    sets: dict[str, ImageSet] | None = None,
    seed: int = 0,
    task: str = "multiclass",
    **options: object,
) -> list[str]:
    found = assign_sets(
        rows, patients or [""] * len(rows), sets or {}, Split(**options), seed=seed, task=task
    )
    assert [row.key for row in found] == [row.key for row in rows]
    return [row.set for row in found]


WORLD = st.lists(
    st.tuples(st.integers(0, 12), st.sampled_from(["a", "b", "c", ""]), st.sampled_from("AB")),
    min_size=1,
    max_size=60,
)
SHARES = st.sampled_from(
    [
        {"train": 0.7, "val": 0.15, "test": 0.15}, {"train": 0.8, "val": 0.2},
        {"train": 0.5, "val": 0.25}, {"train": 1 / 3, "val": 1 / 3, "test": 1 / 3}, {"train": 1.0},
    ]
)  # fmt: skip


@given(world=WORLD, shares=SHARES, seed=st.integers(0, 5), stratify=st.booleans())
def test_patients_fractions_and_order(
    world: list[tuple[int, str, str]], shares: dict[str, float], seed: int, stratify: bool
) -> None:
    rows = [image(i, label, source=source) for i, (_, label, source) in enumerate(world)]
    patients = [f"P{patient}" if patient else "" for patient, _, _ in world]
    sets = {name: ImageSet(fraction=share) for name, share in shares.items()}
    found = split(rows, patients, sets, seed, stratify=stratify)

    sets_of = defaultdict(set)
    for name, patient in zip(found, patients, strict=True):
        if patient and name:
            sets_of[patient].add(name)
    assert all(len(names) == 1 for names in sets_of.values())

    if any(row.label for row in rows):
        used = [i for i, row in enumerate(rows) if row.label]
        assert all(not found[i] for i in range(len(rows)) if i not in used)
    else:
        used = list(range(len(rows)))
    largest = max(Counter(patients[i] or rows[i].key for i in used).values())
    sizes = Counter(found[i] for i in used)
    for name, share in shares.items():
        assert abs(sizes[name] - share * len(used)) < largest + 1e-6

    order = list(range(len(rows)))
    random.Random(seed).shuffle(order)
    again = split([rows[i] for i in order], [patients[i] for i in order], sets, seed,
                  stratify=stratify)  # fmt: skip
    assert again == [found[i] for i in order]


@given(
    counts=st.dictionaries(st.sampled_from("abcd"), st.integers(1, 60), min_size=1),
    shares=SHARES,
    seed=st.integers(0, 5),
)
def test_single_images_are_stratified_almost_exactly(
    counts: dict[str, int], shares: dict[str, float], seed: int
) -> None:
    labels = [name for name, count in counts.items() for _ in range(count)]
    rows = [image(i, label) for i, label in enumerate(labels)]
    found = split(rows, sets={n: ImageSet(fraction=s) for n, s in shares.items()}, seed=seed)
    for name, share in shares.items():
        for label, count in counts.items():
            got = sum(f == name and row.label == label for f, row in zip(found, rows, strict=True))
            assert abs(got - share * count) <= len(counts) + 1


def test_default_shares_are_seven_tenths_and_twice_three_twentieths() -> None:
    rows = [image(i, "ab"[i % 2]) for i in range(200)]
    sizes = Counter(zip(split(rows), (row.label for row in rows), strict=True))
    assert sizes == {
        ("train", "a"): 70, ("train", "b"): 70, ("val", "a"): 15, ("val", "b"): 15,
        ("test", "a"): 15, ("test", "b"): 15,
    }  # fmt: skip
    assert sum(entry.fraction or 0 for entry in DEFAULT_SETS.values()) == pytest.approx(1.0)


def test_seeds_differ_and_repeat() -> None:
    rows = [image(i) for i in range(40)]
    assert split(rows, seed=1) == split(rows, seed=1)
    assert split(rows, seed=1) != split(rows, seed=2)
    patients = [f"P{i // (1 + i % 3)}" for i in range(40)]
    assert split(rows, patients, seed=1) != split(rows, patients, seed=2)


def test_published_splits_stay() -> None:
    """The order comes from a hash, so it is the same in every process and version."""
    groups = [Group(f"film film{i:04}", (i,), {"x": 1}) for i in range(12)]
    dealt = split_groups(groups, {"train": 0.5, "val": 0.5}, seed=7)
    names = {group.images[0]: name for group, name in dealt}
    expected = {i: {"t": "train", "v": "val"}[c] for i, c in enumerate("ttvvtvvtvttv")}
    assert names == expected
    rows = [Row(key=f"film{i:04}", label="x") for i in range(12)]
    shares = {"train": ImageSet(fraction=0.5), "val": ImageSet(fraction=0.5)}
    assert split(rows, sets=shares, seed=7) == [expected[i] for i in range(12)]


def test_group_none_splits_a_patient() -> None:
    rows = [image(i) for i in range(40)]
    assert set(split(rows, ["P"] * 40, group="none")) == {"train", "val", "test"}
    assert set(split(rows, ["P"] * 40)) == {"train"}


def test_sources_select_and_share() -> None:
    rows = [image(i, source="ABC"[i % 3]) for i in range(90)]
    sets = {
        "train": ImageSet(source="A", fraction=0.8),
        "val": ImageSet(source="A", fraction=0.2),
        "outside": ImageSet(source=["B"]),
        "rest": ImageSet(),
    }
    found = split(rows, sets=sets)
    by_source = Counter((row.source, name) for row, name in zip(rows, found, strict=True))
    assert by_source == {
        ("A", "train"): 24, ("A", "val"): 6, ("B", "outside"): 30, ("C", "rest"): 30,
    }  # fmt: skip


def test_only_chooses_classes_by_source() -> None:
    rows = [image(i, "xy"[i % 2], source="AB"[i // 2 % 2]) for i in range(80)]
    mixed, reversed_ = {"A": ["x"], "B": ["y"]}, {"A": ["y"], "B": ["x"]}
    sets = {
        "train": ImageSet(only=mixed, fraction=0.75),
        "test": ImageSet(only=mixed),
        "far": ImageSet(only=reversed_),
    }
    found = split(rows, sets=sets)
    for row, name in zip(rows, found, strict=True):
        assert (name == "far") == ((row.source, row.label) in {("A", "y"), ("B", "x")})
    assert Counter(found) == {"train": 30, "test": 10, "far": 40}
    kinds = Counter((row.source, name) for row, name in zip(rows, found, strict=True))
    assert kinds["A", "train"] == kinds["B", "train"] == 15
    rest = split(rows, sets={"a": ImageSet(only={"A": ["x"]}), "rest": ImageSet()})
    assert Counter(rest) == {"a": 20, "rest": 60}


def test_a_set_without_fraction_gets_what_is_left() -> None:
    rows = [image(i) for i in range(20)]
    found = split(rows, sets={"train": ImageSet(), "val": ImageSet(fraction=0.25)})
    assert Counter(found) == {"train": 15, "val": 5}


def test_the_column_is_followed_without_configured_sets() -> None:
    rows = [image(i, set=["train", "val", "hospitalB", ""][i % 4]) for i in range(12)]
    assert split(rows) == [row.set for row in rows]


def test_the_column_is_followed_for_open_sets_only() -> None:
    rows = [image(i, set="test" if i < 4 else "train") for i in range(24)]
    sets = {"train": ImageSet(fraction=0.75), "val": ImageSet(fraction=0.25), "test": ImageSet()}
    found = split(rows, sets=sets)
    assert found[:4] == ["test"] * 4
    assert Counter(found[4:]) == {"train": 15, "val": 5}


def test_images_without_labels_take_part_only_when_none_has_one() -> None:
    rows = [image(i, "") for i in range(10)]
    assert split(rows) == [""] * 10
    assert Counter(split(rows, sets={"all": ImageSet(fraction=1.0)})) == {"all": 10}
    mixed = [image(i, "x" if i < 5 else "") for i in range(10)]
    assert split(mixed, sets={"all": ImageSet(fraction=1.0)}) == ["all"] * 5 + [""] * 5


def test_skipped_images_are_in_no_set() -> None:
    rows = [image(i, status="skipped" if i % 2 else "ok") for i in range(20)]
    found = split(rows)
    assert all(not name for name in found[1::2])
    assert all(found[::2])


def test_multilabel_sets_have_all_findings() -> None:
    rows = [image(i, f"a={int(i % 10 == 0)};b={int(i % 2)};c=?") for i in range(200)]
    found = split(rows, task="multilabel")
    for name, expected in (("train", 14), ("val", 3), ("test", 3)):
        rare = sum(
            f == name and row.label.startswith("a=1") for f, row in zip(found, rows, strict=True)
        )
        assert rare == expected


def test_label_classes() -> None:
    assert list_classes("tb", "multiclass") == ["tb"]
    assert list_classes("", "multiclass") == []
    assert list_classes("a=1;b=0;c=1", "multilabel") == ["a", "c"]
    assert list_classes("a=0;b=?", "multilabel") == [NEGATIVE]
    assert list_classes("", "multilabel") == []


BAD = {
    "above one": ({"a": ImageSet(fraction=0.7), "b": ImageSet(fraction=0.4)}, "add up to 1.1"),
    "above one by source": (
        {"a": ImageSet(source="A", fraction=0.7), "b": ImageSet(source=["A"], fraction=0.4)},
        "add up to 1.1",
    ),
    "two rests": ({"a": ImageSet(source="A"), "b": ImageSet(source="A")}, "without a fraction"),
    "overlap": ({"a": ImageSet(source="A"), "b": ImageSet(source=["A", "B"])}, "equal or disjoint"),
    "overlap of a class": (
        {"a": ImageSet(source="A"), "b": ImageSet(only={"A": ["x"]})},
        "equal or disjoint",
    ),
    "unknown class": ({"a": ImageSet(only={"A": ["z"]})}, "only.A: no image of class 'z', found x"),
    "unknown of only": ({"a": ImageSet(only={"Z": ["x"]})}, "only: no image of source 'Z'"),
    "unknown": ({"a": ImageSet(source="Z")}, "no image of source 'Z', found 'A', 'B'"),
}


@pytest.mark.parametrize("case", BAD)
def test_contradicting_sets_are_refused(case: str) -> None:
    sets, found = BAD[case]
    with pytest.raises(IsnetError) as caught:
        split([image(i, source="AB"[i % 2]) for i in range(8)], sets=sets)
    assert found in caught.value.message
    assert caught.value.message.startswith("data.sets")
    assert caught.value.fix


def test_a_source_filter_without_any_source_says_which_column_to_name() -> None:
    with pytest.raises(IsnetError, match="no source at all") as caught:
        split([image(1)], sets={"a": ImageSet(source="A")})
    assert "data.columns.source" in caught.value.fix
