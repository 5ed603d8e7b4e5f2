"""The training loop on a network of one weight; checkpoints hold plain data and nothing else."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from isnet_cli.core.run_context import RunContext
from isnet_cli.core.training_loop import (
    LoopSettings,
    StepLosses,
    TrainingLoop,
    find_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from isnet_cli.errors import IsnetError

STEPS = 3
CLOCKS = ("seconds", "images_per_second")


class Line(TrainingLoop[Tensor]):
    """Fits noisy points; the figures of validation are given."""

    def __init__(
        self, path: Path | None = None, scores: tuple[float, ...] = (), rate: float = 0.1,
        identity: str = "a", **settings: Any,
    ) -> None:  # fmt: skip
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            net = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Linear(2, 1))
        optimizer = torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9)
        options = {"epochs": 4, "steps": STEPS, "images": 5 * STEPS, **settings}
        super().__init__(net, optimizer, LoopSettings(**options), path, identity)
        self.scores = scores
        self.kept: list[float] = []
        self.seen = 0

    def begin_epoch(self, epoch: int) -> None:
        torch.manual_seed(epoch)

    def make_batch(self, epoch: int, step: int) -> Tensor:
        return torch.rand(5 + step, 2)

    def compute_loss(self, batch: Tensor, epoch: int) -> StepLosses:
        assert self.net.training
        loss = (self.net(batch) - batch.sum(1, keepdim=True)).square().mean()
        return StepLosses(loss, len(batch), {"step": torch.tensor(float(len(batch)))})

    def learning_rate(self, epoch: int, step: int) -> float:
        return self.optimizer.defaults["lr"] / (1 + epoch + step)

    def after_step(self, epoch: int, step: int) -> None:
        self.seen += 1

    def validate(self, epoch: int) -> dict[str, float]:
        self.net.eval()
        return {"val_score": self.scores[epoch]} if self.scores else {}

    def keep_best(self, row: dict[str, float]) -> None:
        self.kept.append(row["epoch"])

    def extra_state(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        self.seen = state["seen"]


def stop_after(questions: int) -> RunContext:
    left = iter(range(questions))
    return RunContext(stop_requested=lambda: next(left, None) is None)


@pytest.mark.parametrize("questions", [0, 1, STEPS, STEPS + 1, 4 * STEPS - 1])
def test_a_stopped_training_continues_bit_for_bit(tmp_path: Path, questions: int) -> None:
    whole, cut = Line(tmp_path / "whole"), Line(tmp_path / "cut")
    assert whole.run(RunContext())
    assert not cut.run(stop_after(questions))
    assert cut.progress.epoch == questions // STEPS
    torch.rand(7)  # chance of others must not matter
    rest = Line(tmp_path / "cut")
    assert rest.restore() == (questions >= STEPS)
    assert rest.run(RunContext())
    assert rest.seen == whole.seen == 4 * STEPS
    for name, value in whole.net.state_dict().items():
        assert torch.equal(value, rest.net.state_dict()[name]), name
    rows = [
        [{k: v for k, v in row.items() if k not in CLOCKS} for row in training.progress.history]
        for training in (whole, rest)
    ]
    assert rows[0] == rows[1]
    assert len(rows[0]) == 4


def test_the_history_has_means_over_images(tmp_path: Path) -> None:
    events: list[tuple[str, dict[str, Any]]] = []
    training = Line(tmp_path / "c", epochs=1)
    training.run(RunContext(event=lambda name, **fields: events.append((name, fields))))
    (row,) = training.progress.history
    assert row["train_step"] == pytest.approx((5**2 + 6**2 + 7**2) / (5 + 6 + 7))
    assert row["lr"] == pytest.approx(0.1 / 3)
    assert {"epoch", "train_loss", "train_norm", *CLOCKS} <= row.keys()
    assert events == [("epoch", row)]


@pytest.mark.parametrize(
    ("select", "scores", "kept"),
    [
        (("val_score", 1), (0.5, 0.7, 0.7, 0.6), [1, 2]),
        (("val_score", -1), (0.5, 0.7, 0.4, 0.4), [1, 3]),
        (("val_score", 1), (math.nan, 0.1, 0.0, math.nan), [1, 2]),
        (None, (), [1, 2, 3, 4]),
    ],
)
def test_the_first_best_epoch_is_kept(
    tmp_path: Path, select: Any, scores: tuple[float, ...], kept: list[int]
) -> None:
    training = Line(tmp_path / "c", scores, select=select)
    training.run(RunContext())
    assert training.kept == kept
    assert training.progress.best is not None
    assert training.progress.best["epoch"] == kept[-1]


def test_patience_counts_epochs_without_a_better_one(tmp_path: Path) -> None:
    scores = (0.5, 0.9, 0.1, 0.2, 0.3, 0.4)
    training = Line(tmp_path / "c", scores, epochs=6, select=("val_score", 1), patience=2)
    assert training.run(RunContext())
    assert training.progress.epoch == 5
    assert Line(tmp_path / "d", scores, epochs=6).run(RunContext())


def test_clipping_bounds_the_step() -> None:
    nets = [Line(epochs=1, steps=1, clip_norm=norm) for norm in (math.inf, 1e-3)]
    start = [p.detach().clone() for p in nets[0].net.parameters()]
    for training in nets:
        training.run(RunContext())
    free, clipped = (
        sum(
            float((p.detach() - s).square().sum())
            for p, s in zip(training.net.parameters(), start, strict=True)
        )
        for training in nets
    )
    assert clipped == pytest.approx((0.1 * 1e-3) ** 2, rel=1e-2)
    assert free > 100 * clipped


def test_divergence_is_an_error(tmp_path: Path) -> None:
    training = Line(tmp_path / "c", rate=1e30, epochs=9, advice="lower it")
    with pytest.raises(IsnetError, match="training diverged in epoch") as caught:
        training.run(RunContext())
    assert (caught.value.kind, caught.value.fix) == ("weights", "lower it")


def test_a_throw_away_training_leaves_nothing(tmp_path: Path) -> None:
    events: list[str] = []
    training = Line(epochs=2)
    before = torch.get_rng_state()
    assert training.run(RunContext(event=lambda name, **fields: events.append(name)))
    assert torch.equal(before, torch.get_rng_state())
    assert (training.progress.epoch, training.progress.history, training.kept) == (2, [], [])
    assert not training.restore()
    assert not events


def test_checkpoint_round_trip(tmp_path: Path) -> None:
    state = {"net": {"w": torch.randn(3)}, "epoch": 4, "history": [{"a": 0.1}], "best": None}
    save_checkpoint(tmp_path / "c.ckpt", state)
    back = load_checkpoint(tmp_path / "c.ckpt")
    assert torch.equal(back["net"]["w"], state["net"]["w"])
    assert back["history"] == [{"a": 0.1}]


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


def test_a_checkpoint_with_code_or_damage_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"x": Evil()}, tmp_path / "evil.ckpt")
    (tmp_path / "cut.ckpt").write_bytes(b"PK\x03\x04 rubbish")
    for name in ("evil.ckpt", "cut.ckpt", "none.ckpt"):
        with pytest.raises(IsnetError, match="not a readable checkpoint"):
            load_checkpoint(tmp_path / name)
    assert "executed" not in capsys.readouterr().out


def test_only_the_checkpoint_of_the_same_training_is_given(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    assert find_checkpoint(path, "a") is None
    save_checkpoint(path, {"identity": "a", "epoch": 3})
    assert find_checkpoint(path, "a") == {"identity": "a", "epoch": 3}
    assert find_checkpoint(path, "b") is None
