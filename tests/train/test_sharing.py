"""Processes train what one trains, go on where others stopped, refuse what they cannot share."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from isnet_cli.config.schema import Config
from isnet_cli.core.files import read_csv
from isnet_cli.core.parallel.processes import Processes
from isnet_cli.core.pipeline import run_pipeline
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.dataset.augment import draw_changes
from isnet_cli.errors import IsnetError
from isnet_cli.inference.model_files import load_model
from isnet_cli.train.relevance_range import RangeTraining
from isnet_cli.train.sharing import Sharing, refuse_to_share
from isnet_models.methods import registry
from isnet_models.methods.base import Batch, Context, Method
from tests.support.datasets import make_dataset
from tests.support.runs import Stopper, make_run, small_config
from tests.support.two_processes import in_processes

SETS = {"train": 11, "val": 6, "test": 2}  # batches of 4, 4 and 3: unequal shares
CLOCKS = ("seconds", "images_per_second")
CPU = torch.device("cpu")


def make_config(**train: object) -> Config:
    settings = {"isnet": {"preset": "paper", "variant": "stochastic", "heatmap_weight": 0.5,
                          "relevance_range": [1, 25]}}  # fmt: skip
    optimizer = {"name": "sgd", "lr": 1e-4}
    return small_config(
        train={"epochs": 2, "batch_size": 4, "settings": settings, "optimizer": optimizer,
               "clip_norm": 5.0, "average_epochs": 0.5, **train},
        evaluate={"batch_size": 2, "intervals": {"draws": 1000, "bootstrap": 200}},
    )  # fmt: skip


def work(run: Path, stop_after: int, count: int, rank: int) -> list[torch.Tensor]:
    asked = Stopper(stop_after) if stop_after else (lambda: False)
    context = RunContext(processes=Processes(rank, count), stop_requested=asked)
    outcome = run_pipeline(make_config(), RunFolder(run), context, ["train"])[0]
    assert outcome.status == ("incomplete" if stop_after else "done")
    return []


def compare(ours: RunFolder, theirs: RunFolder) -> None:
    histories = [read_csv(f.path / "train" / "history.csv") for f in (ours, theirs)]
    for mine, other in zip(*histories, strict=True):
        for name in mine.keys() - set(CLOCKS):
            # float32: of the gradients of maps, rounding turns the fourth digit
            limit = 3e-2 if name == "train_norm" else 2e-3
            assert float(mine[name]) == pytest.approx(float(other[name]), rel=limit), name
    a, b = (load_model(f.path, CPU).net.state_dict() for f in (ours, theirs))
    for name, value in a.items():
        assert torch.allclose(value.double(), b[name].double(), rtol=1e-3, atol=1e-4), name


@pytest.mark.slow  # processes
@pytest.mark.parametrize("first", [2, 3])
def test_they_train_what_one_trains_and_another_number_goes_on(tmp_path: Path, first: int) -> None:
    alone, shared = (make_run(tmp_path / name, sets=SETS) for name in ("one", "many"))
    assert run_pipeline(make_config(), alone, RunContext(), ["train"])[0].status == "done"
    (tmp_path / "a").mkdir()
    if first == 3:
        in_processes(partial(work, shared.path, 0, 3), tmp_path, 3)
    else:
        in_processes(partial(work, shared.path, 1 + 3 + 1, 2), tmp_path / "a", 2)  # 2nd epoch
        run_pipeline(make_config(), shared, RunContext(), ["train"])
    compare(shared, alone)


def measure(processes: Processes, place: Path) -> list[torch.Tensor]:
    """C1 of the maps and the weights of the throw-away training, in float64."""
    dataset, config = make_dataset(place, train={"batch_size": 4})
    training = RangeTraining(config, dataset, "standard", CPU, processes)
    training.net.double()
    make = training.make_batch

    def make_double(epoch: int, step: int) -> Batch:
        batch = make(epoch, step)
        return Batch(batch.images.double(), batch.masks.double(), batch.labels)

    training.make_batch = make_double  # type: ignore[method-assign]
    assert training.run(RunContext(processes=processes))
    low = [pair[0] for pair in training.estimator.values().values()]
    weights = [p.detach().clone() for p in training.net.parameters()]
    return [torch.tensor(low, dtype=torch.float64), *weights]


def work_on_ranges(place: Path, rank: int) -> list[torch.Tensor]:
    return measure(Processes(rank, 2), place / str(rank))


@pytest.mark.slow  # processes
def test_the_range_of_relevance_is_that_of_all_images(tmp_path: Path) -> None:
    found = in_processes(partial(work_on_ranges, tmp_path), tmp_path, 2)
    for ours, theirs in zip(found, measure(Processes(), tmp_path / "alone"), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-7, atol=1e-9)


def test_shares_of_a_batch_are_dealt_out_in_turn() -> None:
    generator = torch.Generator().manual_seed(0)
    changes = draw_changes(5, (8, 8), make_config().train.augment, generator)
    parts = [(np.arange(10, 15), changes)]
    found = [next(Sharing(Processes(rank, 2)).cut(parts)) for rank in (0, 1)]
    assert [part[0].tolist() for part in found] == [[10, 12, 14], [11, 13]]
    for rank, part in enumerate(found):
        assert part[1] is not None
        assert torch.equal(part[1].table, changes.table[rank::2])


def test_few_batches_are_looked_at_by_all() -> None:
    batches = [np.arange(2), np.arange(2, 3)]
    several, alone = Sharing(Processes(1, 3)), Sharing()
    assert not several.divides(batches)
    assert len(several.deal(batches)) == len(alone.deal(batches)) == 2
    assert Sharing(Processes(1, 2)).deal(batches)[0].tolist() == [2]


def test_what_cannot_be_shared_is_refused() -> None:
    standard, own = registry.make("standard", Context(), {}), Method()  # which says nothing of it
    batches = [np.arange(4), np.arange(4, 7)]
    refuse_to_share(own, "own", batches, Processes())
    refuse_to_share(standard, "standard", batches, Processes(0, 3))
    with pytest.raises(IsnetError, match="own is not made for batches that processes share"):
        refuse_to_share(own, "own", batches, Processes(0, 2))
    with pytest.raises(IsnetError, match="a batch of 3 images for 4 processes"):
        refuse_to_share(standard, "standard", batches, Processes(0, 4))
