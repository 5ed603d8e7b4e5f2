"""What the words of a command mean: a configuration, a folder of images, an earlier run."""

from __future__ import annotations

import datetime
import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isnet_cli.core.files import refuse_foreign
from isnet_cli.core.parallel.processes import are_several
from isnet_cli.errors import IsnetError
from isnet_cli.guard.opening import read_text

if TYPE_CHECKING:
    from isnet_cli.cli.options import RunOptions
    from isnet_cli.config.load import Option
    from isnet_cli.config.schema import Config

RECORD = "isnet.yaml"
STDIN = Path("-")
DATE = "[0-9]" * 4 + "-[0-9][0-9]-[0-9][0-9]"  # pattern of file names
OWN = {
    "log.jsonl",
    RECORD,
    "crash.txt",
}  # of a run that ended before its first stage
_MACHINE_OPTIONS = {"device": "machine.device", "workers": "machine.workers", "seed": "seed"}


@dataclass(frozen=True)
class Source:
    """Where a command's settings and images come from.

    Attributes:
        config: YAML file, or None for defaults.
        images: Folder, file or list of images typed in its place, several of them, or None.
        run: Run folder that was typed in its place, or None; then `config` is its record.
    """

    config: Path | None = None
    images: Path | tuple[Path, ...] | None = None
    run: Path | None = None

    @property
    def typed(self) -> bool:
        """Whether the settings were typed, on top of nothing or of another run's."""
        return self.config is None or (self.run is None and is_run(self.config.parent))


def resolve_source(typed: Path | Sequence[Path] | None, config: Path | None) -> Source:
    """Recognises what was typed; without anything, finds ``isnet.yaml`` in the working folder.

    Args:
        typed: One source, several images, or ``-``: images named on stdin.
        config: What ``--config`` named.

    Raises:
        IsnetError: Kind "usage", when nothing is given and nothing is found; kind "data", when
            `typed` does not exist or is a run of another version.
    """
    words = [typed] if isinstance(typed, Path) else list(typed or ())
    target = words[0] if words else None
    if len(words) > 1 or target == STDIN:
        return Source(config, images=_list_images(words))
    if target is None:
        if config is not None:
            return Source(config)
        if Path(RECORD).is_file():
            return Source(Path(RECORD))
        raise IsnetError(
            "usage",
            "no configuration: expected a YAML file, or a folder of X-rays",
            fix="isnet init DIR   writes isnet.yaml for a folder of X-rays",
        )
    if target.suffix.lower() in {".yaml", ".yml"}:
        if config is not None:
            raise IsnetError("usage", f"two configurations: {target} and {config}, expected one")
        return Source(target)
    if is_run(target):
        _check_version(target)
        return Source(config or target / RECORD, run=target)
    if not target.exists() and not any(sign in str(target) for sign in "*?["):
        raise IsnetError(
            "data",
            f"{target}: no such file or folder, expected X-rays, a YAML file or a run folder",
        )
    return Source(config, images=target)


def describe_words(typed: Sequence[Path] | None) -> str:
    """What was typed, for a message."""
    return " ".join(map(str, typed or ()))


def _list_images(words: Sequence[Path]) -> tuple[Path, ...]:
    """Several files or folders of images; ``-`` stands for those on stdin."""
    for path in words:
        if path.suffix.lower() in {".yaml", ".yml"} or is_run(path):
            raise IsnetError("usage", f"{path}: among several sources, expected images alone")
        if path != STDIN and not path.exists():
            raise IsnetError("data", f"{path}: no such file or folder, expected X-rays")
    return tuple(one for path in words for one in (read_list() if path == STDIN else [path]))


def read_list() -> list[Path]:
    """Paths on stdin, one a line, or with null bytes between (``find -print0``).

    Raises:
        IsnetError: Kind "usage": there is none, or several processes would share them.
    """
    if are_several():
        raise IsnetError(
            "usage", "-: a list on stdin with torchrun", fix="write it into a .txt file"
        )
    content = sys.stdin.read()
    found = content.split("\0") if "\0" in content else content.splitlines()
    paths = [Path(line) for line in found if line.strip()]
    if not paths:
        raise IsnetError("usage", "-: no path on stdin, expected one a line")
    return paths


def is_run(path: Path) -> bool:
    """Whether `path` is the folder of a run."""
    return (path / RECORD).is_file() and (path / "run.json").is_file()


def require_run(path: Path, flag: str) -> Path:
    """`path`, when it is a run folder.

    Raises:
        IsnetError: Kind "weights", when it is not; kind "data", when another version made it.
    """
    if is_run(path):
        _check_version(path)
        return path
    found = "no such folder" if not path.exists() else f"no {RECORD} and run.json in it"
    raise IsnetError(
        "weights",
        f"{flag} {path}: {found}, expected the folder of a trained run",
        fix="isnet train",
    )


def _check_version(run: Path) -> None:
    """Refuses a run of another version before its configuration is read."""
    from isnet_cli.core.run_folder import RunFolder

    RunFolder(run).record()


def make_run_name(path: Path | Sequence[Path]) -> str:
    """A run's name made from a path's last part; of several, that of their common folder."""
    if not isinstance(path, Path):
        path = Path(os.path.commonpath([os.path.dirname(os.path.abspath(one)) for one in path]))
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(os.path.abspath(path)).name).strip("-._")
    return stem or "images"


def make_options(pairs: Iterable[tuple[str, str, Any]]) -> list[Option]:
    """Options from ``(flag, key, value)``; those with the value None were not typed."""
    from isnet_cli.config.load import Option

    return [Option(flag, key, _plain(value)) for flag, key, value in pairs if value is not None]


def _plain(value: Any) -> Any:
    """Paths as text."""
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value


def make_machine_options(options: RunOptions) -> list[Option]:
    """The shared options that are keys of the configuration."""
    pairs = [(f"--{name}", key, getattr(options, name)) for name, key in _MACHINE_OPTIONS.items()]
    pairs.append(("--deterministic", "machine.deterministic", options.deterministic))
    return make_options(pairs)


def choose_output(config: Config, *, typed: bool, folder: Path = Path("runs")) -> Path:
    """``runs/NAME-DATE``; an older run with the very same settings is continued instead.

    Args:
        config: The settings.
        typed: They were typed and are in no file of the user's, so that another run of the same
            name is another piece of work: it is left alone, and a number is added.
        folder: Parent of the run folders.
    """
    from isnet_cli.config.load import plain

    wanted = {**plain(config), "machine": None}
    for path in sorted(folder.glob(f"{config.name}-{DATE}*"), reverse=True):
        if is_run(path) and _settings(path) == wanted:
            return path
    today = datetime.datetime.now().astimezone().date().isoformat()
    path, number = folder / f"{config.name}-{today}", 2
    while typed and path.exists():
        path, number = folder / f"{config.name}-{today}-{number}", number + 1
    return path


def _settings(run: Path) -> dict[str, Any] | None:
    """Settings of a run without those of the machine, which do not matter to its results."""
    from isnet_cli.config.yaml_tree import parse

    found = parse(read_text(run / RECORD)).value
    return {**found, "machine": None} if isinstance(found, dict) else None


def check_output_apart(config: Config, output: Path) -> None:
    """Makes sure that no output lands inside a folder of input images.

    Raises:
        IsnetError: Kind "usage", when it would.
    """
    target = Path(os.path.realpath(output))
    for folder in _input_folders(config):
        if target.is_relative_to(os.path.realpath(folder)):
            raise IsnetError(
                "usage",
                f"{output}: lies inside the input folder {folder}, which is never written to",
                fix="-o DIR outside of it",
            )


def check_output(output: Path) -> None:
    """Makes sure that a run folder is new, or the folder of a run, so that no file is in the way.

    Raises:
        IsnetError: Kind "usage", when it holds anything else.
    """
    refuse_foreign(output, "run.json", OWN, "run")


def _input_folders(config: Config) -> list[str]:
    entries: list[str | Sequence[str] | None] = [config.data.images, config.masks.files]
    entries += [entry.images for entry in config.data.collections.values()]
    entries += [entry.images for entry in config.data.sets.values()]
    flat = [e for entry in entries if entry for e in ([entry] if isinstance(entry, str) else entry)]
    return [entry for entry in flat if os.path.isdir(entry)]
