"""The film store, augmentation and swapped backgrounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from isnet_cli.config.schema import Augment
from isnet_cli.data.augment import augment
from isnet_cli.data.dataset import FilmStore, class_names, encode_labels, load_store
from isnet_cli.data.manifest import read_manifest
from isnet_cli.data.swap import partners, swap_backgrounds
from isnet_cli.data.types import Row
from isnet_cli.errors import IsnetError
from isnet_cli.ports import Ports
from run_factory import make_run, small_config


def store(tmp_path: Path, **sections: dict) -> FilmStore:
    folder = make_run(tmp_path / "run", sets={"train": 4, "val": 2})
    rows = read_manifest(folder.stage_dir("ingest") / "manifest.csv")
    config = small_config(**sections)
    qc = {row.key: "ok" for row in rows} | {"train/003": "missing"}
    ingest, masks = folder.stage_dir("ingest"), folder.stage_dir("masks")
    return load_store(rows, ingest, masks, qc, class_names(rows, config), config, Ports())


def test_films_reach_the_network_with_16_bits(tmp_path: Path) -> None:
    films = store(tmp_path, model={"arch": "small", "input": [48, 48], "channels": 3})
    images, masks = films.batch([0, 3])
    assert images.shape == (2, 3, 48, 48)
    assert images.dtype == torch.float32
    assert len(torch.unique(images)) > 1000  # far more grey levels than 8 bits have
    assert set(torch.unique(masks).tolist()) == {0.0, 1.0}
    assert films.has_mask.tolist() == [True, True, True, False, True, True]
    assert films.targets([0, 1]).tolist() == [0, 1]


def test_bias_versions_differ_outside_the_lungs_only(tmp_path: Path) -> None:
    films = store(tmp_path, bias={"kind": "shapes"}, model={"arch": "small", "input": [96, 96]})
    clean, own, other = (films.film(1, v) for v in ("standard", "biased", "deceiving"))
    lungs = films.masks[1]
    for drawn in (own, other):
        assert np.array_equal(drawn[lungs], clean[lungs])
        assert np.abs(drawn - clean).max() > 0.3
    assert not np.array_equal(own, other)
    assert np.array_equal(films.film(1, "biased"), own)


def test_bias_needs_a_label(tmp_path: Path) -> None:
    films = store(tmp_path, bias={"kind": "shapes"})
    films.labels[0] = -1
    with pytest.raises(IsnetError, match="has no label"):
        films.film(0, "biased")


def test_labels_as_numbers() -> None:
    rows = [Row("a", label="x=1;y=?"), Row("b", label="y=0"), Row("c")]
    config = small_config(data={"labels": {"task": "multilabel"}})
    assert class_names(rows, config) == ["x", "y"]
    encoded = encode_labels(rows, ["x", "y"], "multilabel")
    assert np.array_equal(encoded, [[1, np.nan], [np.nan, 0], [np.nan, np.nan]], equal_nan=True)
    with pytest.raises(IsnetError, match="no label"):
        class_names([Row("a")], small_config())


STILL = Augment(rotate=0, translate=0, scale=0, flip=False, contrast=0, brightness=0)


def test_augmentation_without_ranges_changes_nothing() -> None:
    x, m = torch.rand(2, 1, 16, 24), (torch.rand(2, 1, 16, 24) < 0.5).float()
    a, b = augment(x, m, STILL, torch.Generator().manual_seed(0))
    assert torch.allclose(a, x, atol=1e-5)
    assert torch.equal(b, m)


@pytest.mark.parametrize(
    "change", [{"rotate": 90.0}, {"translate": 0.2}, {"scale": 0.5}, {"flip": True}]
)
def test_film_and_mask_move_together(change: dict) -> None:
    x = torch.zeros(8, 1, 64, 48)
    x[:, :, 20:44, 12:30] = 1
    settings = STILL.model_copy(update=change)
    a, b = augment(x, x.clone(), settings, torch.Generator().manual_seed(1))
    assert ((a >= 0.5) == (b > 0)).float().mean() > 0.995
    assert not torch.allclose(a, x)
    again, _ = augment(x, x.clone(), settings, torch.Generator().manual_seed(1))
    assert torch.equal(a, again)


def test_rotation_keeps_areas_on_oblong_films() -> None:
    x = torch.zeros(32, 1, 64, 48)
    x[:, :, 22:42, 14:34] = 1
    settings = STILL.model_copy(update={"rotate": 45.0})
    _, m = augment(x, x.clone(), settings, torch.Generator().manual_seed(2))
    assert torch.allclose(m.sum((1, 2, 3)), torch.tensor(400.0).expand(32), rtol=0.06)


def test_contrast_leaves_the_mask_alone() -> None:
    x = torch.full((4, 1, 8, 8), 0.5)
    m = torch.ones(4, 1, 8, 8)
    settings = STILL.model_copy(update={"brightness": 0.3})
    a, b = augment(x, m, settings, torch.Generator().manual_seed(0))
    assert torch.equal(b, m)
    assert a.std() > 0.01
    assert a.min() >= 0
    assert a.max() <= 1


def test_partners_are_of_another_class_and_fit(tmp_path: Path) -> None:
    films = store(tmp_path)
    found = partners(films.masks, films.labels, np.random.default_rng(0))
    assert all(films.labels[i] != films.labels[j] for i, j in enumerate(found))
    alone = partners(films.masks, np.zeros(6, np.float32), np.random.default_rng(0))
    assert (alone == -1).all()


def test_swapping_keeps_the_lungs_and_takes_the_rest() -> None:
    lungs = torch.zeros(1, 1, 64, 64)
    lungs[..., 20:44, 10:28] = 1
    own, other = torch.full((1, 3, 64, 64), 0.2), torch.full((1, 3, 64, 64), 0.9)
    mixed = swap_backgrounds(own, lungs, other)
    inside = lungs.bool().expand_as(mixed)
    assert torch.allclose(mixed[inside], own[inside])
    assert torch.allclose(mixed[..., :8, :], other[..., :8, :], atol=1e-3)
