"""Images, masks and labels as the network takes them; synthetic marks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from isnet_cli.core.run_context import RunContext
from isnet_cli.dataset.image_dataset import ImageDataset, encode_labels, list_classes, load_dataset
from isnet_cli.errors import IsnetError
from isnet_cli.images.manifest import read_manifest
from isnet_cli.images.types import Row
from tests.support.runs import make_run, small_config


def make_dataset(tmp_path: Path, **sections: dict) -> ImageDataset:
    folder = make_run(tmp_path / "run", sets={"train": 4, "val": 2})
    rows = read_manifest(folder.stage_dir("ingest") / "manifest.csv")
    config = small_config(**sections)
    qc = {row.key: "ok" for row in rows} | {"train/003": "missing"}
    return load_dataset(rows, folder, qc, list_classes(rows, config), config, RunContext())


def test_images_reach_the_network_with_16_bits(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path, model={"arch": "small", "input": [48, 48], "channels": 3})
    images, masks = dataset.batch([0, 3])
    assert images.shape == (2, 3, 48, 48)
    assert images.dtype == torch.float32
    assert len(torch.unique(images)) > 1000  # far more grey levels than 8 bits have
    assert set(torch.unique(masks).tolist()) == {0.0, 1.0}
    assert dataset.has_mask().tolist() == [True, True, True, False, True, True]
    assert dataset.targets([0, 1]).tolist() == [0, 1]


def test_bias_versions_differ_outside_the_lungs_only(tmp_path: Path) -> None:
    dataset = make_dataset(
        tmp_path, bias={"kind": "shapes"}, model={"arch": "small", "input": [96, 96]}
    )
    clean, own, other = (dataset.image(1, v) for v in ("standard", "biased", "deceiving"))
    lungs = next(dataset.iterate_masks())[1]
    for drawn in (own, other):
        assert np.array_equal(drawn[lungs], clean[lungs])
        assert np.abs(drawn - clean).max() > 0.3
    assert not np.array_equal(own, other)
    assert np.array_equal(dataset.image(1, "biased"), own)


def test_bias_needs_a_label(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path, bias={"kind": "shapes"})
    dataset.labels[0] = -1
    with pytest.raises(IsnetError, match="has no label"):
        dataset.image(0, "biased")


def test_labels_as_numbers() -> None:
    rows = [Row("a", label="x=1;y=?"), Row("b", label="y=0"), Row("c")]
    config = small_config(data={"labels": {"task": "multilabel"}})
    assert list_classes(rows, config) == ["x", "y"]
    encoded = encode_labels(rows, ["x", "y"], "multilabel")
    assert np.array_equal(encoded, [[1, np.nan], [np.nan, 0], [np.nan, np.nan]], equal_nan=True)
    assert encode_labels([], ["x", "y"], "multilabel").shape == (0, 2)
    assert encode_labels([], ["x", "y"], "multiclass").shape == (0,)
    several = [Row("a", label="y"), Row("b"), Row("c", label="x"), Row("d", label="z")]
    assert encode_labels(several, ["x", "y"], "multiclass").tolist() == [1, -1, 0, -1]
    for read in (
        lambda: list_classes(several, config),
        lambda: encode_labels(several, ["x", "y"], "multilabel"),
    ):
        with pytest.raises(IsnetError, match=r"a: one class per image, but data\.labels\.task is"):
            read()
    with pytest.raises(IsnetError, match="no label"):
        list_classes([Row("a")], small_config())
