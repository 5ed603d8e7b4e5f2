"""Pydantic's locations and messages in the words of the file."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from isnet_cli.config.explain import explain, known_keys, locate
from isnet_cli.config.schema import Config, Train
from isnet_models.methods import registry


def faults(tree: dict[str, Any]) -> list[tuple[tuple[str | int, ...], str]]:
    with pytest.raises(ValidationError) as caught:
        Config.model_validate(tree)
    return explain(caught.value, tree)


def test_branches_of_a_union_become_one_sentence() -> None:
    found = faults({"train": {"settings": {"isnet": {"heatmap_weight": "high"}}}})
    assert [key for key, _ in found] == [("train", "settings", "isnet", "heatmap_weight")]
    assert found[0][1].startswith("found 'high', expected a valid number or ")


def test_a_value_inside_a_union_is_found() -> None:
    found = faults({"train": {"settings": {"isnet": {"heatmap_weight": {0: 0.1, 5: "x"}}}}})
    assert ("train", "settings", "isnet", "heatmap_weight", 5) in [key for key, _ in found]


def test_choices_are_listed() -> None:
    ((key, text),) = faults({"train": {"select": "best"}})
    assert key == ("train", "select")
    assert text == "found 'best', expected 'last', 'loss', 'auc' or 'swapped'"


def test_locate_drops_what_the_tree_has_not() -> None:
    tree = {"a": [{"b": 1}]}
    assert locate(("a", "list[x]", 0, "B", "b", "int"), tree) == ("a", 0, "b")
    assert locate(("a", 7), tree) == ("a",)


@pytest.mark.parametrize(
    ("key", "names"),
    [
        ((), list(Config.model_fields)),
        (("train",), list(Train.model_fields)),
        (("data", "sets", "any", "labels"), ["file", "key", "columns"]),
        (("train", "settings"), list(registry.names())),
        (("train", "settings", "gain"), ["mining_weight", "attention_weight"]),
        (("train", "settings", "gain", "x"), []),
        (("data", "sets"), []),
        (("seed",), []),
        (("nonsense", "x"), []),
    ],
)
def test_known_keys(key: tuple[str, ...], names: list[str]) -> None:
    assert known_keys(key)[: len(names) or 1] == names
