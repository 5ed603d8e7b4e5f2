"""Which runs are trainings of the same settings with other seeds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from isnet_cli.config.load import load, plain
from isnet_cli.config.schema import Config
from isnet_cli.core.files import fingerprint
from isnet_cli.errors import IsnetError
from isnet_cli.report.results import RunResults

TRAINED = ("model", "bias", "train")  # sections that make a model, besides its images and seed
IMAGES = ("data", "masks")
RECORD = "isnet.yaml"


@dataclass(frozen=True)
class SeedGroup:
    """Runs that differ in their seed alone.

    Attributes:
        name: What their names have in common.
        runs: Their places in the order of the comparison, at least two.
        seeds: Of each; all different.
    """

    name: str
    runs: tuple[int, ...]
    seeds: tuple[int, ...]


def find_training_seed(run: RunResults) -> int | None:
    """Seed of the training of the model that was evaluated; None where it is not known."""
    config = _find_training_config(run)
    return None if config is None else config.seed


def group_by_seed(runs: Sequence[RunResults]) -> list[SeedGroup]:
    """Groups of runs with equal settings and different seeds, in the order of the runs.

    Equal are the sections model, bias and train, and those of the images (data, masks) of the run
    that made the images; name, machine, evaluate and heatmap say nothing about a training. Of two
    runs with the same seed the first counts.
    """
    members: dict[str, dict[int, int]] = {}
    for place, run in enumerate(runs):
        config = _find_training_config(run)
        if config is not None:
            members.setdefault(_fingerprint_settings(config), {}).setdefault(config.seed, place)
    chosen = [found for found in members.values() if len(found) > 1]
    names = _name_groups([[runs[i].name for i in found.values()] for found in chosen])
    return [
        SeedGroup(name, tuple(found.values()), tuple(found))
        for name, found in zip(names, chosen, strict=True)
    ]


def _find_training_config(run: RunResults) -> Config | None:
    """The settings of the training; None when the run that holds them cannot be read."""
    if run.config.evaluate.model is None:
        return run.config
    return _load_config(Path(run.config.evaluate.model))


def _load_config(folder: Path) -> Config | None:
    try:
        return load(folder / RECORD) if (folder / RECORD).is_file() else None
    except IsnetError:
        return None


def _fingerprint_settings(config: Config) -> str:
    """The same text for settings that are the same but for the seed."""
    owner = config if config.upstream is None else _load_config(Path(config.upstream)) or config
    trained, images = plain(config), plain(owner)
    found: dict[str, Any] = {name: trained[name] for name in TRAINED}
    return fingerprint(found, {name: images[name] for name in IMAGES})


def _name_groups(groups: Sequence[Sequence[str]]) -> list[str]:
    """What the members' names have in common; a number where that is nothing, or not unique."""
    found = []
    for number, members in enumerate(groups, 1):
        common = "".join(one[0] for one in takewhile(_are_equal, zip(*members, strict=False)))
        if any(member[len(common) : len(common) + 1].isdigit() for member in members):
            common = common.rstrip("0123456789")  # not the 1 of run-10 and run-11
        stem = re.sub(r"([-_. /]+(seed|s)?[-_. ]*|seed)$", "", common)
        taken = not stem or stem in found
        found.append(f"settings {number}" if taken else stem)
    return found


def _are_equal(letters: Sequence[str]) -> bool:
    return len(set(letters)) == 1
