"""What a model's card says of its configuration and of the epoch that was kept."""

from __future__ import annotations

import json

import pytest

from isnet_cli.train.model_card import describe_validation, make_card, name_network
from isnet_cli.train.setup import build_net
from isnet_models.backbones import count_parameters
from tests.support.runs import small_config


@pytest.mark.parametrize(
    ("train", "family", "bounded"),
    [
        ({"method": "isnet"}, "flex", True),
        ({"method": "isnet", "settings": {"isnet": {"variant": "original"}}}, "block", True),
        ({"method": "isnet", "settings": {"isnet": {"bounded_first_layer": False}}}, "flex", False),
        ({"method": "grad_input"}, "flex", False),
        ({"method": "standard"}, "flex", True),
    ],
)
def test_the_rules_of_the_maps_are_those_of_training(
    train: dict, family: str, bounded: bool
) -> None:
    config = small_config(train=train)
    card = make_card(config, ["a", "b"], build_net(config, 2), None, 5, 3)
    assert (card["heatmap"]["family"], card["heatmap"]["bounded_first_layer"]) == (family, bounded)
    assert (card["heatmap"]["epsilon"] == 0) == (train["method"] == "grad_input")
    assert card["images"] == {"train": 5, "val": 3}
    json.dumps(card)


def test_the_network_is_named_and_counted() -> None:
    config = small_config(
        model={"arch": "small", "input": [64, 64]}, train={"method": "ag_sononet+background_mix"}
    )
    net = build_net(config, 2)
    card = make_card(config, ["a", "b"], net, None, 1, 1)
    assert card["arch"] == name_network(config) == "ag_sononet"
    assert card["parameters"] == count_parameters(net)
    assert set(card["settings"]) == {"ag_sononet", "background_mix"}
    assert name_network(small_config(train={"method": "background_mix"})) == "small"


def test_several_labels_have_thresholds_and_exclusive_classes_none() -> None:
    for task, wanted in (("multilabel", [0.5, 0.5]), ("multiclass", None)):
        config = small_config(data={"labels": {"task": task}}, train={"method": "standard"})
        card = make_card(config, ["a", "b"], build_net(config, 2), None, 1, 1)
        assert card["thresholds"] == wanted


def test_figures_without_value_are_null() -> None:
    row = {"epoch": 3.0, "train_loss": 1.0, "val_loss": 0.5, "val_auc": float("nan")}
    assert describe_validation(row) == {
        "epoch": 3,
        "validation": {"val_loss": 0.5, "val_auc": None},
    }
