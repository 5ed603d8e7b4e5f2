"""The one training loop: epochs, orderly stops, checkpoints, exact continuation.

A training inherits from `TrainingLoop` and says how a batch is made, what its loss is, and what is
measured after an epoch. Checkpoints are read with torch's safe loader only.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from isnet_cli.core.files import atomic_path, without_nan
from isnet_cli.core.parallel.processes import ALONE, Processes, explain_loss
from isnet_cli.core.parallel.step_figures import Reading, StepFigures, describe_fault
from isnet_cli.core.records.checkpoints import (
    FIX,
    check_checkpoint,
    find_checkpoint,
    load_checkpoint,
)
from isnet_cli.core.run_context import Bar, RunContext
from isnet_cli.core.runtime import explain_limits
from isnet_cli.errors import IsnetError

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

__all__ = [
    "CHECKPOINT", "Batch", "LoopSettings", "Progress", "StepLosses", "TrainingLoop",
    "find_checkpoint", "load_checkpoint", "save_checkpoint",
]  # fmt: skip

CHECKPOINT = "last.ckpt"
SHOW_SECONDS = 1.0  # between two readings of a step's figures, for which the host waits
Batch = TypeVar("Batch")


@dataclass(frozen=True)
class LoopSettings:
    """What a training asks of the loop.

    Attributes:
        epochs: Number of epochs.
        steps: Training steps per epoch.
        images: Images per epoch.
        clip_norm: Largest norm of the gradient; infinity does not clip.
        select: Figure of the epoch that is kept, and 1 where more of it is better or -1 where less
            is; None keeps the last epoch.
        patience: Epochs without a better one after which training ends; 0 never ends it.
        shown: Figures that the progress bar shows, of the step or of the epoch.
        title: Of the progress bar.
        first: Epochs of trainings of the same network before this one; they count in what people
            see.
        total: Epochs of all these trainings together; 0: there is no other.
        accumulate: Batches whose gradients make one step of the optimiser, >= 1.
        advice: What to change when the training diverges.
    """

    epochs: int
    steps: int
    images: int
    clip_norm: float = math.inf
    select: tuple[str, int] | None = None
    patience: int = 0
    shown: tuple[str, ...] = ()
    title: str = "training"
    first: int = 0
    total: int = 0
    accumulate: int = 1
    advice: str = "lower the learning rate"


@dataclass(frozen=True)
class StepLosses:
    """Loss of one training batch.

    Attributes:
        total: What is differentiated (0-d tensor).
        images: Number of images in the batch.
        parts: Further figures for the history (0-d tensors without gradient), by name.
    """

    total: Tensor
    images: int
    parts: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class Progress:
    """Where a training stands.

    Attributes:
        epoch: Number of finished epochs.
        history: One row per finished epoch.
        best: ``value`` of the selecting figure at its best, and its ``epoch`` (from 1); None before
            the first.
    """

    epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, float] | None = None


class TrainingLoop(ABC, Generic[Batch]):
    """Trains one network; after every epoch its whole state is on disk.

    Where every random number of an epoch follows from the seed and the epoch alone (`begin_epoch`),
    a training continued after any interruption equals an uninterrupted one bit for bit, on the same
    machine and versions.

    Args:
        net: The network on its device.
        optimizer: Of the network's parameters.
        settings: What the training asks of the loop.
        checkpoint: File of the state; None for a throw-away training without state or history.
        identity: Hash of what the training depends on; a checkpoint of another is not continued.
        processes: Those that train together; process 0 writes.
    """

    def __init__(
        self,
        net: nn.Module,
        optimizer: Optimizer,
        settings: LoopSettings,
        checkpoint: Path | None = None,
        identity: str = "",
        processes: Processes = ALONE,
    ) -> None:
        self.net, self.optimizer, self.settings = net, optimizer, settings
        self.path, self.identity = checkpoint, identity
        self.device = next(net.parameters()).device
        self.progress = Progress()
        self.processes = processes
        self._images = 0  # of the step whose gradients are being added up

    @abstractmethod
    def begin_epoch(self, epoch: int) -> None:
        """Seeds all random numbers of `epoch` (from 0)."""

    @abstractmethod
    def make_batch(self, epoch: int, step: int) -> Batch:
        """The batch of `step` (from 0) in `epoch`, on the network's device."""

    @abstractmethod
    def compute_loss(self, batch: Batch, epoch: int) -> StepLosses:
        """Loss of `batch`; the network is in training mode."""

    def end_epoch(self) -> None:
        """Follows the last step of an epoch, however it ended."""

    def learning_rate(self, epoch: int, step: int) -> float | None:
        """The rate of the step; None leaves the optimiser's."""
        return None

    def join_gradients(self) -> None:
        """Follows each backward pass of a step's last batch, before its update."""

    def after_step(self, epoch: int, step: int) -> None:
        """Follows each update of the weights."""

    def validate(self, epoch: int) -> dict[str, float]:
        """Figures of the finished `epoch` for its row of the history."""
        return {}

    def after_epoch(self, context: RunContext) -> None:
        """What the leading process does with an epoch that is recorded; nothing by default."""

    def keep_best(self, row: dict[str, float]) -> None:
        """Keeps the network of an epoch that is the best so far, with its `row`."""

    def extra_state(self) -> dict[str, Any]:
        """What the checkpoint holds besides network, optimiser and progress."""
        return {}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """Takes back what `extra_state` gave."""

    def restore(self) -> bool:
        """Continues from the checkpoint if there is one of this very training.

        Returns:
            Whether there was one.

        Raises:
            IsnetError: Kind "weights": it is damaged, or does not belong to this network.
        """
        state = None if self.path is None else find_checkpoint(self.path, self.identity)
        if state is None:
            return False
        assert self.path is not None  # noqa: S101 - a state came from it
        check_checkpoint(state, self.path, self.net, self.optimizer, self.settings.epochs)
        try:
            self.load_extra_state(state)
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise IsnetError(
                "weights",
                f"{self.path}: does not belong to this training ({str(error).splitlines()[0]})",
                fix=FIX,
            ) from error
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.progress = Progress(**state["progress"])
        return True

    def run(self, context: RunContext) -> bool:
        """Trains to the end.

        Returns:
            False when a stop was asked for; the last whole epoch is kept.

        Raises:
            IsnetError: Kind "weights", when the training diverges.
        """
        import torch

        steps = self.settings.steps
        with (
            torch.random.fork_rng(devices=[]),
            context.progress.bar(self.settings.title, self.settings.epochs * steps) as bar,
        ):
            bar.advance(self.progress.epoch * steps)
            while self.progress.epoch < self.settings.epochs and not self._out_of_patience():
                if not self._train_epoch(bar, context):
                    return False
        return True

    def _out_of_patience(self) -> bool:
        patience, best = self.settings.patience, self.progress.best
        return bool(
            patience and best is not None and self.progress.epoch - best["epoch"] > patience
        )

    def _train_epoch(self, bar: Bar, context: RunContext) -> bool:
        epoch, began = self.progress.epoch, time.monotonic()
        self.begin_epoch(epoch)
        self.net.train()
        figures = StepFigures(self.device)
        try:
            done = self._train_steps(epoch, figures, bar, context)
        except Exception:
            self._check_steps(epoch, figures.read())  # what a network of NaN does is no news
            raise
        finally:
            self.end_epoch()
        if not done:
            return False
        found = figures.read()
        self._check_steps(epoch, found)
        seconds = time.monotonic() - began
        self._check_weights(epoch)
        if self.path is not None:
            means = {f"train_{name}": value for name, value in found.means.items()}
            self._record_epoch(means, seconds, bar, context)
        self.progress.epoch = epoch + 1
        if self.path is not None and self.processes.leads:
            self._save(self.path)
            context.event("epoch", **without_nan(self.progress.history[-1]))
            self.after_epoch(context)
        return True

    def _train_steps(self, epoch: int, figures: StepFigures, bar: Bar, context: RunContext) -> bool:
        """All steps of an epoch; False when a stop was asked for."""
        settings, shown = self.settings, time.monotonic()
        number = f"{settings.first + epoch + 1}/{settings.total or settings.epochs}"
        for step in range(settings.steps):
            if self.processes.any(context.stop_requested()):
                return False
            with self._explain(settings.images // settings.steps or 1):
                self.train_step(self.make_batch(epoch, step), epoch, step, figures)
            if time.monotonic() - shown < SHOW_SECONDS and step < settings.steps - 1:
                bar.advance(1, epoch=number)
                continue
            found, shown = figures.read(), time.monotonic()
            self._check_steps(epoch, found)
            last = {name: found.last[name] for name in settings.shown if name in found.last}
            bar.advance(1, epoch=number, **last)
        return True

    def train_step(self, batch: Batch, epoch: int, step: int, figures: StepFigures) -> None:
        """Loss, gradients and a step of the optimiser; the host does not wait for the device.

        The gradient of a step over several batches is that of the mean over all their images.

        Args:
            batch: The batch of `step`.
            epoch: From 0.
            step: From 0.
            figures: Takes what the step says.
        """
        losses = self.compute_loss(batch, epoch)
        values = self._update_weights(losses, epoch, step)
        figures.add(values, losses.images)

    @contextmanager
    def _explain(self, images: int) -> Iterator[None]:
        """Says what to do where memory does not suffice, or another process has ended."""
        lost = explain_loss() if self.processes.count > 1 else nullcontext()
        with explain_limits(images), lost:
            yield

    def _update_weights(self, losses: StepLosses, epoch: int, step: int) -> dict[str, Tensor]:
        """One step of the optimiser, or a part of one; figures of the batch by name."""
        n = self.settings.accumulate
        first, last = step % n == 0, step % n == n - 1 or step == self.settings.steps - 1
        rate = self.learning_rate(epoch, step)
        for group in self.optimizer.param_groups if rate is not None else ():
            group["lr"] = rate
        if first:
            self.optimizer.zero_grad(set_to_none=True)
            self._images = 0
        self._images += losses.images
        total = losses.total if n == 1 else losses.total * losses.images
        total.backward()  # type: ignore[no-untyped-call]
        values = {"loss": losses.total.detach(), **losses.parts}
        if last:
            self.join_gradients()
            values["norm"] = self._finish_gradients()
            self.optimizer.step()
            self.after_step(epoch, step)
        return values

    def _finish_gradients(self) -> Tensor:
        """Divides and clips the gradients that were added up; their norm before."""
        from torch.nn.utils import clip_grads_with_norm_, get_total_norm

        parameters = [p for p in self.net.parameters() if p.grad is not None]
        gradients = [p.grad for p in parameters if p.grad is not None]
        if self.settings.accumulate > 1:
            for gradient in gradients:
                gradient.div_(self._images)
        norm = get_total_norm(gradients)
        if math.isfinite(self.settings.clip_norm):
            clip_grads_with_norm_(parameters, self.settings.clip_norm, norm)
        return norm

    def _check_steps(self, epoch: int, found: Reading) -> None:
        """Makes sure that losses and gradients of all steps so far are finite numbers."""
        if found.bad_step is not None:
            raise self._diverged(epoch, describe_fault(found.bad), step=found.bad_step)

    def _check_weights(self, epoch: int) -> None:
        """Makes sure that weights, running statistics and means of both are finite numbers."""
        import torch

        state = {"": self.net.state_dict(), **self.extra_state()}
        looked = [(name, t) for name, t in _list_tensors(state) if t.is_floating_point()]
        sound = torch.stack([torch.isfinite(t).all().to(self.device) for _, t in looked])
        for (name, _), fine in zip(looked, sound.tolist(), strict=True):
            if not fine:
                raise self._diverged(epoch, f"{name.lstrip('.')} holds NaN or infinity")

    def _validate(self, epoch: int) -> dict[str, float]:
        """The epoch's figures; losses among them have to be finite."""
        with self._explain(self.settings.images):
            figures = self.validate(epoch)
        for name, value in figures.items():
            loss = name in ("val_loss", "val_classification", "val_heatmap")
            if math.isinf(value) or (loss and math.isnan(value)):
                raise self._diverged(epoch, f"{name} {value:g}")
        return figures

    def _diverged(self, epoch: int, found: str, step: int | None = None) -> IsnetError:
        number = self.settings.first + epoch + 1
        place = "" if step is None else f", step {step + 1} of {self.settings.steps}"
        return IsnetError(
            "weights",
            f"{self.settings.title} diverged in epoch {number}{place}: {found}",
            fix=self.settings.advice,
        )

    def _record_epoch(
        self, means: dict[str, float], seconds: float, bar: Bar, context: RunContext
    ) -> None:
        """Validates, keeps the network if it is the best so far, and notes the epoch."""
        settings, epoch = self.settings, self.progress.epoch
        row = {
            "epoch": settings.first + epoch + 1.0,
            "lr": self.optimizer.param_groups[0]["lr"],
            **means,
            **self.processes.broadcast(self._validate(epoch)),
        }
        name, sign = settings.select or ("", 1)
        value, best = row[name] if name else math.nan, self.progress.best
        if best is None or sign * value > sign * best["value"] or math.isnan(best["value"]):
            self.progress.best = {"value": value, "epoch": epoch + 1.0}
            if self.processes.leads:
                self.keep_best(row)
        row["seconds"], row["images_per_second"] = seconds, settings.images / seconds
        self.progress.history.append(row)
        shown = {name: row[name] for name in settings.shown if name in row}
        bar.advance(0, **shown, rate=f"{row['images_per_second']:.1f} images/s")

    def _save(self, path: Path) -> None:
        save_checkpoint(
            path,
            {
                "identity": self.identity,
                "net": self.net.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "progress": asdict(self.progress),
                **self.extra_state(),
            },
        )


def _list_tensors(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Tensors inside of dictionaries, with their names."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _list_tensors(inner, f"{name}.{key}" if name else str(key))
    elif hasattr(value, "is_floating_point"):
        yield name, value


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Writes tensors, numbers, strings, lists and dicts by rename."""
    import torch

    with atomic_path(path) as temporary:
        torch.save(state, temporary)
