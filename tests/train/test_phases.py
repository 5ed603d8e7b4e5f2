"""A training in parts: who trains when, exact continuation, mean weights, large steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from isnet_cli.config.load import load
from isnet_cli.core.files import read_csv
from isnet_cli.core.pipeline import run_stage
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.training_loop import LoopSettings, StepLosses, TrainingLoop
from isnet_cli.errors import IsnetError
from isnet_cli.inference.model_files import load_model
from isnet_cli.train import stage as train
from isnet_cli.train.phases import split_phases
from isnet_cli.train.weight_mean import WeightMean
from isnet_models.backbones import build_backbone
from isnet_models.methods.base import Batch
from isnet_models.methods.standard import Standard
from tests.support.runs import Stopper, make_run, small_config

CPU = torch.device("cpu")
BEFORE = [{"method": "background_mix", "share": 0.6, "lr_factor": 2.0}]


def in_parts(**section: Any) -> Any:
    base = {"method": "isnet", "epochs": 3, "before": BEFORE}
    return small_config(
        train={**base, **section},
        model={"arch": "small", "input": [32, 32], "dropout": 0.3},
    )


@pytest.mark.parametrize(
    ("epochs", "shares", "expected"),
    [
        (65, [0.6], [("standard", 39, 0, 2e-3), ("isnet", 26, 39, 1e-3)]),
        (
            10,
            [0.25, 0.25],
            [("standard", 2, 0, 2e-3), ("standard", 3, 2, 2e-3), ("isnet", 5, 5, 1e-3)],
        ),
        (2, [0.9], [("standard", 1, 0, 2e-3), ("isnet", 1, 1, 1e-3)]),
        (1, [0.6], [("isnet", 1, 0, 1e-3)]),
        (3, [], [("isnet", 3, 0, 1e-3)]),
    ],
)
def test_epochs_are_split_by_shares(
    epochs: int, shares: list[float], expected: list[tuple[str, int, int, float]]
) -> None:
    before = [{"method": "standard", "share": share, "lr_factor": 2.0} for share in shares]
    schedule = {"warmup_epochs": 4 if epochs > 4 else 0}
    phases = split_phases(in_parts(epochs=epochs, before=before, schedule=schedule))
    found = [
        (p.config.train.method, p.config.train.epochs, p.first, p.config.train.optimizer.lr)
        for p in phases
    ]
    assert found == [(m, e, f, pytest.approx(r)) for m, e, f, r in expected]
    assert [p.number for p in phases] == list(range(1, len(phases) + 1))
    assert [p.last for p in phases] == [False] * (len(phases) - 1) + [True]
    assert sum(p.config.train.epochs for p in phases) == epochs
    assert all(p.config.train.schedule.warmup_epochs < p.config.train.epochs for p in phases)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in two parts, with a mean of the weights, uninterrupted."""
    folder = make_run(tmp_path_factory.mktemp("parts") / "run")
    run_stage(train, in_parts(average_epochs=1.0), folder, RunContext())
    return folder.path


def test_history_and_cards_tell_the_parts(whole: Path) -> None:
    history = read_csv(whole / "train" / "history.csv")
    assert [(row["phase"], row["epoch"]) for row in history] == [
        ("1", "1"), ("1", "2"), ("2", "3"),
    ]  # fmt: skip
    assert [bool(row["train_mixed"]) for row in history] == [True, True, False]
    assert [bool(row["train_heatmap"]) for row in history] == [False, False, True]
    rates = [float(row["lr"]) for row in history]
    assert rates[0] > 1e-3 >= rates[2]
    model, first = (load_model(place, CPU) for place in (whole, whole / "train" / "before_1"))
    assert model.card["method"] == "isnet"
    assert model.card["epoch"] == 3
    assert model.card["before"] == BEFORE
    assert first.card["method"] == "background_mix"
    record = json.loads((whole / "run.json").read_text())["stages"]["train"]
    assert (record["summary"]["epoch"], record["summary"]["best_epoch"]) == (3, 3)
    assert "before_1/model.safetensors" in json.dumps(record["outputs"])


@pytest.mark.parametrize(
    "stop_after",  # in the first part; in the measurement of the range; in the second part
    [2, pytest.param(7, marks=pytest.mark.slow), pytest.param(9, marks=pytest.mark.slow), 10],
)
def test_continued_equals_uninterrupted(tmp_path: Path, whole: Path, stop_after: int) -> None:
    folder, config = make_run(tmp_path / "run"), in_parts(average_epochs=1.0)
    stopped = run_stage(train, config, folder, RunContext(stop_requested=Stopper(stop_after)))
    assert stopped.status == "incomplete"
    torch.rand(7)
    assert run_stage(train, config, folder, RunContext()).status == "done"
    for place in ("train", "train/before_1"):
        one, two = (load_model(path / place, CPU).net for path in (whole, folder.path))
        for name, value in one.state_dict().items():
            assert torch.equal(value, two.state_dict()[name]), (place, name)


def test_the_second_part_starts_from_the_first(tmp_path: Path) -> None:
    """At a rate of nothing the two models are one."""
    folder = make_run(tmp_path / "run")
    config = in_parts(
        epochs=2, optimizer={"name": "sgd", "lr": 1e-30, "momentum": 0.0},
        before=[{"method": "standard", "share": 0.5, "lr_factor": 1e28}],
    )  # fmt: skip
    run_stage(train, config, folder, RunContext())
    first, last = (
        dict(load_model(place, CPU).net.named_parameters())
        for place in (folder.path / "train" / "before_1", folder.path)
    )
    assert all(torch.equal(value, last[name]) for name, value in first.items())


def test_parts_of_other_networks_are_refused() -> None:
    config = in_parts(before=[{"method": "ag_sononet", "share": 0.5}])
    with pytest.raises(IsnetError, match=r"train\.before\[0\]\.method: ag_sononet and isnet"):
        train.preflight(config)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{method: nope, share: 0.5}", r"a\.yaml:3: train\.before\[0\]\.method: 'nope' is unk"),
        ("{method: standard, share: 1.0}", r"a\.yaml:3: train\.before\[0\]\.share"),
        ("{method: standard, share: 0.5}\n    - {method: rrr, share: 0.5}", "add up to 1"),
        ("{method: standard}", r"train\.before\[0\]"),
        ("{method: standard, share: 0.5, lr_factor: 0}", r"lr_factor"),
    ],
)
def test_impossible_parts_name_their_key(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(f"train:\n  before:\n    - {text}\n")
    with pytest.raises(IsnetError, match=said):
        load(path)


def test_the_mean_follows_its_formula() -> None:
    torch.manual_seed(0)
    net = nn.Linear(3, 2)
    mean = WeightMean(net, 0.5, LoopSettings(epochs=4, steps=8, images=8))  # over 4 steps
    expected = np.zeros((2, 3))
    for step in range(12):
        net.weight.data = torch.rand(2, 3)
        mean.update()
        d = min(1 - 1 / 4, step / (step + 1))
        expected = d * expected + (1 - d) * net.weight.detach().numpy()
        np.testing.assert_allclose(mean.net.weight.detach().numpy(), expected, rtol=1e-5)
    none = WeightMean(net, 0.0, LoopSettings(epochs=4, steps=8, images=8))
    none.update()
    assert none.net is net
    assert none.state() == {}


def test_batchnorm_gets_the_statistics_of_the_mean_weights() -> None:
    torch.manual_seed(0)
    net = build_backbone("small", 2)
    mean = WeightMean(net, 1.0, LoopSettings(epochs=1, steps=2, images=8))
    batches = [Batch(torch.rand(4, 1, 32, 32), torch.zeros(4, 1, 32, 32), torch.zeros(4))] * 2
    for _ in range(2):
        for parameter in net.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
        mean.update()
    mean.set_statistics(batches, Standard())
    found = mean.net.stem[1]
    with torch.no_grad():
        features = mean.net.stem[0](batches[0].images)
    torch.testing.assert_close(found.running_mean, features.mean((0, 2, 3)))
    torch.testing.assert_close(found.running_var, features.var((0, 2, 3)))
    assert not mean.net.training
    assert found.momentum == 0.1


class Squares(TrainingLoop[torch.Tensor]):
    """Fits a line; the last batch is smaller than the others."""

    def __init__(self, sizes: list[int], accumulate: int, precise: torch.Tensor) -> None:
        torch.manual_seed(0)
        net = nn.Linear(2, 1).double()
        settings = LoopSettings(
            epochs=1, steps=len(sizes), images=len(precise), accumulate=accumulate, clip_norm=0.5
        )
        super().__init__(net, torch.optim.SGD(net.parameters(), lr=0.1), settings)
        self.batches = precise.split(sizes)

    def begin_epoch(self, epoch: int) -> None: ...

    def make_batch(self, epoch: int, step: int) -> torch.Tensor:
        return self.batches[step]

    def compute_loss(self, batch: torch.Tensor, epoch: int) -> StepLosses:
        return StepLosses((self.net(batch) - 1).square().mean(), len(batch))


def test_batches_added_up_equal_one_large_batch() -> None:
    images = torch.rand(11, 2, dtype=torch.float64)
    small, large = Squares([4, 4, 3], 2, images), Squares([8, 3], 1, images)
    for training in (small, large):
        training.run(RunContext())
    for a, b in zip(small.net.parameters(), large.net.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def test_a_training_takes_fewer_larger_steps(tmp_path: Path) -> None:
    config = small_config(train={"method": "standard", "epochs": 1, "accumulate": 2})
    folder = make_run(tmp_path / "run")
    steps: list[int] = []
    original = torch.optim.AdamW.step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", lambda self: (steps.append(1), original(self))[1])
        run_stage(train, config, folder, RunContext())
    assert len(steps) == 2  # three batches of four images
