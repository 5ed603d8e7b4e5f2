"""Models adapted to a test set: statistics by hand, labels without influence, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from isnet_cli.core.pipeline import run_stage
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.errors import IsnetError
from isnet_cli.evaluate import adaptation
from isnet_cli.evaluate import stage as evaluate
from isnet_cli.evaluate.adaptation import adapt_predictor
from isnet_cli.images.manifest import read_manifest
from isnet_cli.images.types import Row
from isnet_cli.inference.predictor import Predictor, open_predictor
from isnet_models.batch_statistics import estimate_statistics
from tests.evaluate.factory import edit_rows, make_trained
from tests.evaluate.test_stage import metrics, table
from tests.support.runs import small_config

ADAPT = {"adapt": "batch_norm", "background": False}


def opened(path: Path, images: int) -> tuple[Predictor, list[Row], RunFolder]:
    folder = make_trained(path, sets={"test": images})
    predictor = open_predictor(small_config(evaluate=ADAPT), None, folder)
    return predictor, read_manifest(folder.path / "ingest" / "manifest.csv"), folder


def first_norm(net: nn.Module) -> nn.BatchNorm2d:
    return next(m for m in net.modules() if isinstance(m, nn.BatchNorm2d))


def seen_by_first_norm(predictor: Predictor, rows: list[Row]) -> torch.Tensor:
    found: list[torch.Tensor] = []
    norm = first_norm(predictor.model.net)
    handle = norm.register_forward_pre_hook(lambda _, given: found.append(given[0].double()))
    images, _ = predictor.batch(predictor.load(rows), range(len(rows)), "standard")
    predictor.answer(images)
    handle.remove()
    return found[0]


def test_statistics_are_those_of_the_sets_images(tmp_path: Path) -> None:
    predictor, rows, _ = opened(tmp_path / "run", 6)
    before = first_norm(predictor.model.net).running_mean.clone()
    adapted = adapt_predictor(predictor, "test", rows, RunContext())
    x = seen_by_first_norm(predictor, rows)
    norm = first_norm(adapted.model.net)
    torch.testing.assert_close(norm.running_mean.double(), x.mean((0, 2, 3)), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(norm.running_var.double(), x.var((0, 2, 3)), atol=1e-6, rtol=1e-5)
    assert torch.equal(first_norm(predictor.model.net).running_mean, before)  # ours stays as it was
    assert not adapted.model.net.training


def test_statistics_of_several_batches_are_their_plain_mean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor, rows, _ = opened(tmp_path / "run", 6)
    x = seen_by_first_norm(predictor, rows)
    monkeypatch.setattr(adaptation, "BATCH", 3)
    monkeypatch.setattr(adaptation, "choose_chunk_size", lambda config: 3)
    norm = first_norm(adapt_predictor(predictor, "test", rows, RunContext()).model.net)
    order = np.random.default_rng(0).permutation(6)
    expected = torch.stack([x[order[i : i + 3]].var((0, 2, 3)) for i in (0, 3)]).mean(0)
    torch.testing.assert_close(norm.running_var.double(), expected, atol=1e-6, rtol=1e-5)


def test_the_stage_scores_and_says_it(tmp_path: Path) -> None:
    predictor, rows, folder = opened(tmp_path / "run", 6)
    run_stage(evaluate, small_config(evaluate=ADAPT), folder, RunContext())
    adapted = adapt_predictor(predictor, "test", rows, RunContext())
    images, _ = adapted.batch(adapted.load(rows), range(6), "standard")
    expected = adapted.predict(images).probabilities[:, 1]
    found = [float(line["p_sick"]) for line in table(folder)]
    assert found == pytest.approx(expected.tolist(), abs=1e-5)
    assert metrics(folder)["adapt"] == "batch_norm"
    plain = predictor.predict(images).probabilities[:, 1]
    assert np.abs(plain - expected).max() > 1e-3


def test_labels_have_no_influence(tmp_path: Path) -> None:
    _, _, a = opened(tmp_path / "a", 6)
    _, _, b = opened(tmp_path / "b", 6)
    edit_rows(b, lambda row: {"label": {"sick": "normal", "normal": "sick"}[row.label]})
    for folder in (a, b):
        run_stage(evaluate, small_config(evaluate=ADAPT), folder, RunContext())
    assert [x["p_sick"] for x in table(a)] == [x["p_sick"] for x in table(b)]


def test_impossible_cases_are_refused(tmp_path: Path) -> None:
    predictor, rows, _ = opened(tmp_path / "run", 6)
    with pytest.raises(IsnetError, match="expected at least two"):
        adapt_predictor(predictor, "test", rows[:1], RunContext())
    for module in predictor.model.net.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.Identity())
    with pytest.raises(IsnetError, match="no BatchNorm layer"):
        adapt_predictor(predictor, "test", rows, RunContext())


def test_frozen_layers_keep_their_statistics() -> None:
    class Frozen(nn.BatchNorm1d):
        def train(self, mode: bool = True) -> Frozen:
            return super().train(False)

    net = nn.Sequential(Frozen(2), nn.BatchNorm1d(2)).eval()
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0)) + 3
    assert estimate_statistics(net, lambda: net(x)) == 1
    assert torch.equal(net[0].running_mean, torch.zeros(2))
    torch.testing.assert_close(net[1].running_mean, x.mean(0) / (1 + 1e-5) ** 0.5)
    assert net[1].momentum == 0.1
    assert not any(module.training for module in net.modules())
