"""The parts of a training: what `train.before` names, then `train.method`, on one network."""

from __future__ import annotations

from dataclasses import dataclass

from isnet_cli.config.schema import Config
from isnet_cli.errors import IsnetError
from isnet_models.methods import registry


@dataclass(frozen=True)
class Phase:
    """One part of a training.

    Attributes:
        config: As if this part were the whole: its method, epochs and learning rate.
        number: Counted from 1.
        first: Epochs of the parts before it.
        last: Whether it is `train.method`, whose model is the run's.
    """

    config: Config
    number: int
    first: int
    last: bool

    @property
    def folder(self) -> str:
        """Name of its folder in that of the stage; the last one is in the stage's own."""
        return "" if self.last else f"before_{self.number}"


def split_phases(config: Config) -> list[Phase]:
    """The parts in order; one that would have no epoch is left out.

    The epochs of a part are its share of `train.epochs`, rounded; the last has what is left, and
    at least one.
    """
    train, phases, first = config.train, [], 0
    done = 0.0
    for part in train.parts_before:
        done += part.share
        end = min(round(done * train.epochs), train.epochs - 1)
        if end > first:
            rate = train.optimizer.lr * part.lr_factor
            optimizer = train.optimizer.model_copy(update={"lr": rate})
            phases.append(
                Phase(_part(config, part.method, end - first, optimizer), 0, first, last=False)
            )
            first = end
    whole = config if not train.parts_before else _part(
        config, train.method, train.epochs - first, train.optimizer
    )  # fmt: skip
    phases.append(Phase(whole, 0, first, last=True))
    return [Phase(p.config, n, p.first, p.last) for n, p in enumerate(phases, 1)]


def _part(config: Config, method: str, epochs: int, optimizer: object) -> Config:
    schedule = config.train.schedule
    warmup = min(schedule.warmup_epochs, epochs - 1)
    update = {
        "before": [],
        "method": method,
        "epochs": epochs,
        "optimizer": optimizer,
        "schedule": schedule.model_copy(update={"warmup_epochs": warmup}),
    }
    return config.model_copy(update={"train": config.train.model_copy(update=update)})


def list_needs(config: Config) -> set[str]:
    """What the methods of all parts need; keys of `registry.NEEDS`."""
    return {need for phase in split_phases(config) for need in _needs(phase.config)}


def _needs(config: Config) -> set[str]:
    return set(registry.needs(config.train.method))


def check_phases(config: Config) -> None:
    """Refuses parts that do not train the same network.

    Raises:
        IsnetError: Kind "config".
    """
    last = registry.parts(config.train.method)[0]
    for number, part in enumerate(config.train.parts_before):
        first = registry.parts(part.method)[0]
        if first.load().build.__func__ is not last.load().build.__func__:  # type: ignore[attr-defined]
            raise IsnetError(
                "config",
                f"train.before[{number}].method: {first.name} and {last.name} train networks of"
                " different kinds",
                fix="train.before: methods of the same network, such as standard, background_mix,"
                " isnet, rrr, gain",
            )
