"""`isnet ls`, `show`, `diff` and `clean`: what runs there are, what they are, what can go."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from isnet_cli.cli.options import ScreenOptions, with_options
from isnet_cli.cli.session import Result, Session, execute
from isnet_cli.cli.source import RECORD, is_run, require_run
from isnet_cli.errors import IsnetError
from isnet_cli.text.tables import format_table

Runs = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="RUN...",
        show_default=False,
        help="Run folders, or folders of runs; - takes a list from stdin [runs].",
    ),
]
OneRun = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")]
OtherRun = Annotated[Path, typer.Argument(metavar="RUN", help="The run to compare with.")]
Yes = Annotated[bool, typer.Option("--yes", help="Remove without asking.")]
HEAD = ("run", "method", "network", "images", "epoch", "val AUC", "test AUC", "state")
# what only a training needs that goes on: its state, and the packed images
DISPOSABLE = ("train/last.ckpt", "train/images.npy", "train/images.json")


@with_options(ScreenOptions)
def ls(options: ScreenOptions, runs: Runs = None) -> int:
    """List runs: method, data, epochs, scores, state."""

    def body(session: Session) -> Result:
        found = [describe_run(path) for path in find_runs(runs or [Path("runs")])]
        rows = [[str(run[name]) for name in HEAD] for run in found]
        return Result({"runs": found}, format_table(HEAD, rows, left=3) if rows else "no runs")

    return execute("ls", options, body)


@with_options(ScreenOptions)
def show(options: ScreenOptions, run: OneRun) -> int:
    """Show a run: its stages, its settings, its scores."""

    def body(session: Session) -> Result:
        from isnet_cli.config.load import load, plain
        from isnet_cli.config.schema import Config

        path = require_run(run, "RUN")
        config = load(path / RECORD)
        session.hide_names(config)
        record = _record(path)
        changed = _differences(plain(Config()), plain(config))
        stages = {name: entry["status"] for name, entry in record["stages"].items()}
        scores = _scores(record)
        lines = [str(path), *(f"  {name:<9} {state}" for name, state in stages.items())]
        lines += ["", "settings other than the defaults:"]
        lines += [f"  {key}: {_short(new)}" for key, (_, new) in changed.items()]
        if scores:
            lines += ["", *(f"  {name:<28} {value}" for name, value in scores.items())]
        settings = {key: new for key, (_, new) in changed.items()}
        document = {"run": str(path), "stages": stages, "settings": settings, "scores": scores}
        return Result(document, "\n".join(lines))

    return execute("show", options, body)


@with_options(ScreenOptions)
def diff(options: ScreenOptions, run: OneRun, other: OtherRun) -> int:
    """Compare two runs: settings that differ, and figures."""

    def body(session: Session) -> Result:
        from isnet_cli.config.load import load, plain

        pair = [require_run(path, "RUN") for path in (run, other)]
        configs = [load(path / RECORD) for path in pair]
        session.hide_names(*configs)
        changed = _differences(plain(configs[0]), plain(configs[1]))
        scores = [_scores(_record(path)) for path in pair]
        names = dict.fromkeys([*scores[0], *scores[1]])
        figures = {n: (scores[0].get(n, ""), scores[1].get(n, "")) for n in names}
        rows = [[key, _short(a), _short(b)] for key, (a, b) in {**changed, **figures}.items()]
        text = format_table(["", str(run), str(other)], rows, left=3) if rows else "no difference"
        document = {
            "settings": {key: list(value) for key, value in changed.items()},
            "scores": {key: list(value) for key, value in figures.items()},
        }
        return Result(document, text)

    return execute("diff", options, body)


@with_options(ScreenOptions)
def clean(options: ScreenOptions, run: OneRun, yes: Yes = False) -> int:
    """Remove what a finished training does not need."""

    def body(session: Session) -> Result:
        from isnet_cli.core.run_folder import RunFolder

        path = require_run(run, "RUN")
        folder = RunFolder(path)
        there = [path / name for name in DISPOSABLE if (path / name).is_file()]
        if there and folder.stage_record("train") is None:
            raise IsnetError(
                "usage", f"{path}: its training is not finished and needs {there[0].name}",
                fix=f"isnet train {path}   finishes it",
            )  # fmt: skip
        size = sum(file.stat().st_size for file in there)
        names = ", ".join(file.relative_to(path).as_posix() for file in there)
        document = {"run": str(path), "removed": [str(file) for file in there], "bytes": size}
        if not there:
            return Result(document, f"{path}: nothing to remove")
        if not yes:
            _ask(f"remove {names} of {path} ({size / 1e6:.1f} MB)?")
        with folder.lock():
            for file in there:
                file.unlink()
        return Result(document, f"{path}: removed {names}, {size / 1e6:.1f} MB")

    return execute("clean", options, body)


def _ask(question: str) -> None:
    """Goes on when the user says yes.

    Raises:
        IsnetError: Kind "usage": no, or nobody can be asked.
    """
    if not sys.stdin.isatty():
        raise IsnetError("usage", f"{question} nobody to ask", fix="--yes removes without asking")
    if not typer.confirm(question, err=True):
        raise IsnetError("usage", "nothing was removed")


def find_runs(paths: Sequence[Path]) -> list[Path]:
    """Run folders among the paths and directly inside them; ``-`` stands for lines of stdin.

    Raises:
        IsnetError: Kind "data": a path that does not exist.
    """
    named = [path for path in paths if str(path) != "-"]
    if len(named) < len(paths):
        named += [Path(line.strip()) for line in sys.stdin if line.strip()]
    found: list[Path] = []
    for path in named:
        if not path.is_dir():
            raise IsnetError("data", f"{path}: no such folder, expected a run or a folder of runs")
        inside = [path] if is_run(path) else sorted(p for p in path.iterdir() if is_run(p))
        found += [one for one in inside if one not in found]
    return found


def describe_run(path: Path) -> dict[str, Any]:
    """One line of the list; what is not known is empty."""
    from isnet_cli.config.load import load

    try:
        config, record = load(path / RECORD), _record(path)
    except IsnetError as error:  # of another version, or damaged: the others are listed
        return {**dict.fromkeys(HEAD, ""), "run": str(path), "state": error.message}
    stages = record["stages"]
    done = [name for name, entry in stages.items() if entry["status"] == "done"]
    begun = [name for name, entry in stages.items() if entry["status"] != "done"]
    ingest = stages.get("ingest", {}).get("summary") or {}
    train = stages.get("train", {}).get("summary") or {}
    scores = [value for name, value in _scores(record).items() if name.endswith("macro AUC")]
    auc = train.get("val_auc")
    state = f"{begun[0]} unfinished" if begun else (done[-1] if done else "empty")
    return {
        "run": str(path),
        "method": config.train.method,
        "network": config.model.arch,
        "images": ingest.get("read", ""),
        "epoch": f"{train['epoch']}/{config.train.epochs}" if "epoch" in train else "",
        "val AUC": f"{auc:.3f}" if isinstance(auc, float) else "",
        "test AUC": scores[0] if scores else "",
        "state": state,
    }


def _record(path: Path) -> dict[str, Any]:
    from isnet_cli.core.run_folder import RunFolder

    return RunFolder(path).record()


def _scores(record: Mapping[str, Any]) -> dict[str, str]:
    """Main figures of each test, as text."""
    sets = (record["stages"].get("evaluate", {}).get("summary") or {}).get("sets", {})
    titles = {"macro_auc": "macro AUC", "macro_f1": "macro F1", "outside": "relevance outside"}
    return {
        f"{name} {'' if version == 'standard' else version + ' '}{title}": f"{scores[key]:.3f}"
        for name, versions in sets.items()
        for version, scores in versions.items()
        for key, title in titles.items()
        if scores.get(key) is not None
    }


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Dotted key -> both values, where they differ."""
    from isnet_cli.config.load import changed_keys

    return {key: (_at(old, key), _at(new, key)) for key in changed_keys(old, new)}


def _at(tree: Any, key: str) -> Any:
    for name in key.split("."):
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    return tree


def _short(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
