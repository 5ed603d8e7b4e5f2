"""Relevance maps of chosen films: overlays to look at, arrays to work with, and their index.

Written: ``index.csv``; ``<set>/<key>_<target>.png`` and ``.npz``; with synthetic bias
``<set>/<version>/<key>_<target>...`` for the versions biased, standard and deceiving.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from isnet_cli.config.schema import Config
from isnet_cli.data.dataset import FilmStore, Version
from isnet_cli.data.films import load_film
from isnet_cli.data.geometry import Frame
from isnet_cli.data.manifest import read_manifest
from isnet_cli.data.maskfiles import load_mask
from isnet_cli.data.types import Row
from isnet_cli.errors import IsnetError
from isnet_cli.measure.reliance import NO_MASK, NOT_FINITE, reliance
from isnet_cli.ports import Bar, Ports
from isnet_cli.runs import files
from isnet_cli.runs.folder import RunFolder
from isnet_cli.stages.base import StageResult
from isnet_cli.stages.journal import Journal, remove
from isnet_cli.stages.mapfiles import FilmMap, lungs_on_film, npz_bytes, panel_png
from isnet_cli.stages.predictor import (
    Predictor,
    Seen,
    model_folder,
    model_hashes,
    open_predictor,
)
from isnet_cli.stages.testsets import (
    check_labels,
    chosen_sets,
    chunk_size,
    chunks,
    in_version,
    labels_of,
    safe_name,
    upstream_hashes,
    versions,
)

NAME = "heatmap"
FORMAT = 1  # raise when the same inputs give another result
INDEX = "index.csv"
BATCH = 8  # films explained at a time, at most
MODES = ("predicted", "true", "all")
COLUMNS = (
    "set", "version", "key", "target", "label", "predicted", "probability", "outside_share",
    "conservation_error", "png", "npz", "error",
)  # fmt: skip
NO_LABEL = "no label, so no true class"
SUSPECT = "lung mask is suspect"


def fingerprint(config: Config, folder: RunFolder) -> str:
    """Hash of the model, the films, the masks and the settings that the maps depend on.

    Raises:
        IsnetError: When ingest, masks or the model are missing.
    """
    return files.fingerprint(
        NAME,
        FORMAT,
        config.heatmap.model_dump(exclude={"model"}),
        config.masks.on_suspect,
        None if config.bias.kind == "none" else [config.bias.model_dump(), config.seed],
        upstream_hashes(folder),
        model_hashes(model_folder(config.heatmap.model, folder)),
    )


def run(config: Config, folder: RunFolder, ports: Ports) -> StageResult:
    """Makes and writes the maps of up to ``heatmap.limit`` films of each set.

    Returns:
        Output ``index.csv``; summary: numbers of films and maps, of films without a map
        (``skipped``), and the mean share outside the lungs of each set.

    Raises:
        IsnetError: Kind "config" for an unknown set or target, or a network without relevance
            rules; "data" for a class that the model does not know; "weights" for a missing model.
    """
    predictor = open_predictor(config, config.heatmap.model, folder)
    _check_target(config.heatmap.target, predictor)
    rows = read_manifest(folder.stage_dir("ingest") / "manifest.csv")
    sets = chosen_sets(rows, config.heatmap.sets, "heatmap.sets")
    check_labels(sets, predictor.classes, predictor.task)
    chosen = {name: choose(films, config.heatmap.limit) for name, films in sets.items()}
    root = folder.stage_dir(NAME)
    old = _written(root)
    lines: list[dict[str, str]] = []
    steps = sum(len(in_version(r, v)) for r in chosen.values() for v in versions(r, config))
    with (
        Journal(root, fingerprint(config, folder)) as journal,
        ports.progress.bar("heatmap", steps) as bar,
    ):
        for name, films in chosen.items():
            for version in versions(films, config):
                work = _Work(predictor, root, name, version, journal, bar)
                for chunk in chunks([films[i] for i in in_version(films, version)], work.size):
                    if ports.stop_requested():
                        return StageResult([], {}, complete=False)
                    lines += _map_chunk(work, chunk)
        files.write_csv(root / INDEX, COLUMNS, lines)
        remove(root, old - _written(root))
        journal.complete()
    return StageResult([root / INDEX], _summary(lines, chosen))


def choose(rows: Sequence[Row], limit: int | None) -> list[Row]:
    """Up to `limit` films, as even over the labels as they allow, in the order of `rows`.

    Within a label films are drawn by the hash of their key: the choice looks random, is the same
    every time, and a larger limit adds to it.
    """
    if limit is None or len(rows) <= limit:
        return list(rows)
    groups: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: hashlib.sha256(row.key.encode()).digest()):
        groups.setdefault(row.label, []).append(row)
    turns = [(turn, label) for label, group in groups.items() for turn in range(len(group))]
    keys = {groups[label][turn].key for turn, label in sorted(turns)[:limit]}
    return [row for row in rows if row.key in keys]


@dataclass(frozen=True)
class _Work:
    """One set in one version."""

    predictor: Predictor
    root: Path
    set: str
    version: Version
    journal: Journal
    bar: Bar

    @property
    def size(self) -> int:
        """Films in memory at a time."""
        return chunk_size(self.predictor.config)

    @property
    def biased(self) -> bool:
        """Whether versions are told apart in the files' names."""
        return self.predictor.config.bias.kind == "shapes"

    def part(self, row: Row) -> str:
        """Name of a film's part in the journal."""
        return f"{self.set}/{self.version}/{row.key}"

    def place(self, row: Row, target: str) -> Path:
        """Path of a map without its suffix."""
        folder = Path(safe_name(self.set)) / (self.version if self.biased else "")
        return folder / f"{row.key}_{safe_name(target)}"


def _check_target(target: str, predictor: Predictor) -> None:
    if target not in (*MODES, *predictor.classes):
        raise IsnetError(
            "config",
            f"heatmap.target: '{target}', expected {', '.join(MODES)} or a class of the model: "
            f"{', '.join(predictor.classes)}",
            fix=f"--target {predictor.classes[-1]}",
        )
    why = predictor.no_rule()
    if why:
        raise IsnetError(
            "config",
            f"model: no relevance maps: {why}",
            fix="train a network of convolutions, BatchNorm and ReLU (densenet121, resnet18, ...)",
        )


def _map_chunk(work: _Work, rows: Sequence[Row]) -> list[dict[str, str]]:
    """Maps of a few films, those of an earlier, killed run included."""
    todo = [row for row in rows if work.journal.get(work.part(row)) is None]
    work.bar.advance(len(rows) - len(todo))
    if todo:
        store = work.predictor.load(todo)
        size = min(BATCH, work.predictor.config.evaluate.batch_size)
        for batch in chunks(range(len(todo)), size):
            _map_batch(work, store, batch)
            work.bar.advance(len(batch))
    return [line for row in rows for line in work.journal.get(work.part(row))]


def _map_batch(work: _Work, store: FilmStore, batch: Sequence[int]) -> None:
    """Explains, measures, draws and writes a few films; each is noted when it is whole."""
    predictor = work.predictor
    images, masks = predictor.batch(store, batch, work.version)
    seen, all_maps, targets = _explain(predictor, images, [store.rows[i] for i in batch])
    for place, index in enumerate(batch):
        row = store.rows[index]
        film, lungs = _picture(work, store, index)
        lines, written = [], []
        for target, position in targets[place].items():
            maps = all_maps[place, position]
            measured = reliance(maps[None], masks[place][None])
            found = FilmMap(
                maps.sum(axis=0),
                Frame((row.height, row.width), predictor.config.model.input),
                film,
                lungs,
                predictor.classes,
                target,
                seen.logits[place],
                seen.probabilities[place],
                float(measured.outside_share[0]),
            )
            line, paths = _write_map(work, row, found, str(measured.why[0]))
            lines.append(line)
            written += paths
        work.journal.add(work.part(row), lines or [_line(work, row, error=NO_LABEL)], written)


def _explain(
    predictor: Predictor, images: torch.Tensor, rows: Sequence[Row]
) -> tuple[Seen, NDArray[np.float32], list[dict[int, int]]]:
    """What the model says, its maps, and for each film: explained class -> place in its maps."""
    mode, classes = predictor.config.heatmap.target, predictor.classes
    if mode == "predicted":
        seen, maps = predictor.explain(images, "predicted")
        return seen, maps, [{int(k): 0} for k in seen.logits.argmax(axis=1)]
    if mode == "all":
        wanted = [list(range(len(classes)))] * len(rows)
    elif mode == "true":
        known = [labels_of(row, predictor.task) for row in rows]
        wanted = [[classes.index(name) for name, yes in k.items() if yes == 1] for k in known]
    else:
        wanted = [[classes.index(mode)]] * len(rows)
    if any(len(some) > 1 for some in wanted):
        return *predictor.explain(images, "all"), [{k: k for k in some} for some in wanted]
    one = torch.tensor([some[0] if some else 0 for some in wanted])
    return *predictor.explain(images, one), [dict.fromkeys(some, 0) for some in wanted]


def _picture(
    work: _Work, store: FilmStore, index: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
    """The film to draw, at the kept film's size, and its trusted lungs on the same grid.

    A film with a shape exists at the network's size only: that is what the model saw.
    """
    row, folder = store.rows[index], work.predictor.folder
    film = load_film(folder.stage_dir("ingest") / row.film)
    size = (film.shape[0], film.shape[1])
    if work.version != "standard":
        frame = Frame((row.height, row.width), work.predictor.config.model.input)
        film = frame.to_original(store.film(index, work.version), size)
    if not work.predictor.trusted(row):
        return film, None
    mask = load_mask(str(folder.stage_dir("masks") / f"{row.key}.png"))
    return film, lungs_on_film(mask, size)


def _write_map(
    work: _Work, row: Row, found: FilmMap, why: str
) -> tuple[dict[str, str], list[Path]]:
    """Writes one map in the formats asked for; returns its line of the index and its files."""
    if why == NO_MASK and work.predictor.qc.get(row.key) == "suspect":
        why = SUSPECT
    predicted = ", ".join(work.predictor.decisions(found.probabilities[None])[0]) or "none"
    target = found.classes[found.target]
    values = {
        "target": target,
        "predicted": predicted,
        "probability": f"{found.probabilities[found.target]:.6f}",
    }
    if why == NOT_FINITE:
        return _line(work, row, **values, error=why), []
    for name in ("outside", "conservation_error"):
        value = getattr(found, name)
        values[name] = "" if np.isnan(value) else f"{value:.6f}"
    values["outside_share"] = values.pop("outside")
    place = work.place(row, target)
    formats = work.predictor.config.heatmap.formats
    paths = {kind: place.with_name(f"{place.name}.{kind}") for kind in formats}
    if "png" in paths:
        title = f"{row.key} · {work.set}" + (f" · {work.version}" if work.biased else "")
        facts = [f"predicted: {predicted}", f"label: {row.label or 'none'}"]
        files.write_bytes(work.root / paths["png"], panel_png(found, title, facts))
    if "npz" in paths:
        files.write_bytes(work.root / paths["npz"], npz_bytes(found))
    names = {kind: path.as_posix() for kind, path in paths.items()}
    line = _line(work, row, **values, **names, error=why)
    return line, [work.root / path for path in paths.values()]


def _line(work: _Work, row: Row, **cells: str) -> dict[str, str]:
    known = {"set": work.set, "version": work.version, "key": row.key, "label": row.label, **cells}
    return {name: known.get(name, "") for name in COLUMNS}


def _summary(lines: list[dict[str, str]], sets: dict[str, list[Row]]) -> dict[str, Any]:
    by_set: dict[str, Any] = {}
    for name, rows in sets.items():
        shares: dict[str, list[float]] = {}
        for line in lines:
            if line["set"] == name and line["outside_share"]:
                shares.setdefault(line["version"], []).append(float(line["outside_share"]))
        outside = {version: float(np.mean(values)) for version, values in shares.items()}
        by_set[name] = {"films": len(rows), "outside": outside}
    lost = {(line["set"], line["key"]) for line in lines if not _made(line)}
    maps = sum(_made(line) for line in lines)
    films = sum(len(rows) for rows in sets.values())
    return {"films": films, "maps": maps, "skipped": len(lost), "sets": by_set}


def _made(line: dict[str, str]) -> bool:
    """Whether the line stands for a map that was made."""
    return bool(line["target"]) and line["error"] != NOT_FINITE


def _written(root: Path) -> set[str]:
    """Files that the stage's index names, relative to `root`."""
    if not (root / INDEX).is_file():
        return set()
    lines = files.read_csv(root / INDEX)
    return {line[kind] for line in lines for kind in ("png", "npz") if line.get(kind)}
