"""Hands what a run says of itself to its trackers; none of them can stop it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from isnet_cli import __version__
from isnet_cli.config.load import plain
from isnet_cli.config.schema import Config
from isnet_cli.errors import IsnetError
from isnet_cli.track.tracker import TRACKERS, Tracker

FOLDER = "track"  # inside the run
SECTIONS = ("seed", "model", "train", "bias")  # of the settings: they name no input
PICTURES = "heatmap/*/contact_sheet.png"
Event = Callable[..., None]


def require_trackers(config: Config) -> None:
    """Refuses trackers that are not installed, before anything is done.

    Raises:
        IsnetError: Kind "usage", naming what to install.
    """
    for name in config.track:
        kind = TRACKERS[name]
        if find_spec(kind.package) is None:
            raise IsnetError(
                "usage",
                f"track: {name}: {kind.package} is not installed, an extra of isnet",
                fix=f"pip install 'isnet[{kind.extra}]'",
            )


class Followers:
    """The trackers of a run; one that fails is dropped with a warning.

    Args:
        config: The configuration.
        run: The run folder.
        warn: As `RunContext.warn`.
    """

    def __init__(self, config: Config, run: Path, warn: Callable[[str, str], None]) -> None:
        self._config, self._run, self._warn = config, run, warn
        self._open: dict[str, Tracker] = {}
        self._started = False

    def hear(self, name: str, fields: Mapping[str, Any]) -> None:
        """Takes an event of the run: the start of training, an epoch, a finished stage."""
        if name == "stage_started" and fields.get("stage") == "train":
            self._start()
        elif name == "epoch":
            self._start()
            numbers = {k: float(v) for k, v in fields.items() if _is_number(v) and k != "epoch"}
            epoch = int(fields.get("epoch", 0))
            self._each(lambda tracker: tracker.log(numbers, epoch))
        elif name == "stage_done" and fields.get("stage") == "heatmap" and self._started:
            for path in sorted(self._run.glob(PICTURES)):
                title = f"maps of {path.parent.name}"
                self._each(lambda tracker, t=title, p=path: tracker.picture(t, p, None))  # type: ignore[misc]
        elif name == "sample_maps":
            sheet, number = self._run / str(fields["file"]), int(fields["epoch"])
            self._each(lambda tracker: tracker.picture("sample maps", sheet, number))

    def close(self) -> None:
        """Ends all trackers."""
        self._each(lambda tracker: tracker.close())
        self._open.clear()

    def _start(self) -> None:
        if self._started:
            return
        self._started = True
        facts = list_facts(self._config, self._run)
        for name in self._config.track:
            with self._guarded(name):
                place = self._run / FOLDER / name
                place.mkdir(parents=True, exist_ok=True)
                self._open[name] = TRACKERS[name](place, self._config.name, facts)

    def _each(self, work: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._open.items()):
            with self._guarded(name):
                work(tracker)

    @contextmanager
    def _guarded(self, name: str) -> Iterator[None]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the libraries, about themselves
                yield
        except Exception as error:  # of any library: a training goes on
            self._open.pop(name, None)
            kind = type(error).__name__
            self._warn("track", f"{name} failed ({kind}) and is left out; the run goes on")


def list_facts(config: Config, run: Path) -> dict[str, Any]:
    """Settings of network and training, and hashes; no path, no name of an input."""
    from isnet_cli.core.run_folder import RunFolder

    tree = plain(config)
    facts: dict[str, Any] = {"isnet": __version__}
    for section in SECTIONS:
        facts |= dict(_flatten(tree[section], section))
    for stage, entry in RunFolder(run).record()["stages"].items():
        facts[f"fingerprint.{stage}"] = entry.get("fingerprint", "")
    return facts


def _flatten(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flatten(inner, f"{key}.{name}")
    elif isinstance(value, str) and ("/" in value or "\\" in value):
        yield key, Path(value.replace("\\", "/")).name
    else:
        yield key, value if isinstance(value, (int, float, str, bool)) else str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
