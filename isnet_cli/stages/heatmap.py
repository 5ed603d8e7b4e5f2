"""Relevance maps of chosen films: overlays to look at, arrays to work with, and their index.

Written: ``index.csv``; ``<set>/<key>_<target>.png`` and ``.npz``; with synthetic bias
``<set>/<version>/<key>_<target>...`` for the versions biased, standard and deceiving.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from isnet_cli.config.schema import Config
from isnet_cli.data.dataset import FilmStore, Version
from isnet_cli.data.labelvalues import labels_of
from isnet_cli.data.manifest import read_manifest
from isnet_cli.data.types import Row
from isnet_cli.errors import IsnetError
from isnet_cli.ports import Bar, Ports
from isnet_cli.runs import files
from isnet_cli.runs.folder import RunFolder
from isnet_cli.runs.runtime import workers
from isnet_cli.stages.base import StageResult
from isnet_cli.stages.journal import Journal, remove
from isnet_cli.stages.mapwriter import COLUMNS, Explained, Line, MapWriter, made
from isnet_cli.stages.predictor import Predictor, Seen, dependencies, open_predictor
from isnet_cli.stages.testsets import (
    Stopped,
    check_labels,
    chosen_sets,
    chunk_size,
    chunks,
    go_on,
    in_version,
    versions,
)

NAME = "heatmap"
FORMAT = 1  # raise when the same inputs give another result
INDEX = "index.csv"
BATCH = 8  # films explained at a time, at most
MODES = ("predicted", "true", "all")


def fingerprint(config: Config, folder: RunFolder) -> str:
    """Hash of the model, the films, the masks and the settings that the maps depend on.

    Raises:
        IsnetError: When ingest, masks or the model are missing.
    """
    return files.fingerprint(
        NAME,
        FORMAT,
        config.heatmap.model_dump(exclude={"model"}),
        *dependencies(config, config.heatmap.model, folder),
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
    lines: list[Line] = []
    steps = sum(len(in_version(r, v)) for r in chosen.values() for v in versions(r, config))
    try:
        with (
            Journal(root, fingerprint(config, folder)) as journal,
            ports.progress.bar("heatmap", steps) as bar,
        ):
            for name, films in chosen.items():
                for version in versions(films, config):
                    writer = MapWriter(predictor, root, name, version)
                    shown = [films[i] for i in in_version(films, version)]
                    for chunk in chunks(shown, chunk_size(predictor.config)):
                        lines += _map_chunk(writer, chunk, journal, bar, ports)
            files.write_csv(root / INDEX, COLUMNS, lines)
            remove(root, old - _written(root))
            journal.complete()
    except Stopped:
        return StageResult([], {}, complete=False)
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


def _map_chunk(
    writer: MapWriter, rows: Sequence[Row], journal: Journal, bar: Bar, ports: Ports
) -> list[Line]:
    """Maps of a few films, those of an earlier, killed run included."""
    todo = [row for row in rows if journal.get(writer.part(row)) is None]
    bar.advance(len(rows) - len(todo))
    if todo:
        config = writer.predictor.config
        store = writer.predictor.load(todo)
        for batch in chunks(range(len(todo)), min(BATCH, config.evaluate.batch_size)):
            go_on(ports)
            found = _explain(writer.predictor, store, batch, writer.version)
            for index, (lines, written) in zip(batch, _drawn(writer, store, found), strict=True):
                journal.add(writer.part(todo[index]), lines, written)
                bar.advance()
    return [line for row in rows for line in journal.get(writer.part(row))]


def _drawn(
    writer: MapWriter, store: FilmStore, found: dict[int, Explained]
) -> Iterator[tuple[list[Line], list[Path]]]:
    """Draws and writes films in threads (compression releases the interpreter), in order."""
    threads = max(1, workers(writer.predictor.config.machine.workers))
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(lambda item: writer.write(store, *item), found.items())


def _explain(
    predictor: Predictor, store: FilmStore, batch: Sequence[int], version: Version
) -> dict[int, Explained]:
    """What the model says about films of `store`, by their index, with the maps asked for."""
    images, masks = predictor.batch(store, batch, version)
    seen, maps, wanted = _maps(predictor, images, [store.rows[i] for i in batch])
    return {
        index: Explained(
            seen.logits[place],
            seen.probabilities[place],
            {target: maps[place, position] for target, position in wanted[place].items()},
            masks[place],
        )
        for place, index in enumerate(batch)
    }


def _maps(
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
        known = [labels_of(row.label, predictor.task) for row in rows]
        wanted = [[classes.index(name) for name, yes in k.items() if yes == 1] for k in known]
    else:
        wanted = [[classes.index(mode)]] * len(rows)
    if any(len(some) > 1 for some in wanted):
        return *predictor.explain(images, "all"), [{k: k for k in some} for some in wanted]
    one = torch.tensor([some[0] if some else 0 for some in wanted])
    return *predictor.explain(images, one), [dict.fromkeys(some, 0) for some in wanted]


def _summary(lines: list[Line], sets: dict[str, list[Row]]) -> dict[str, Any]:
    by_set: dict[str, Any] = {}
    for name, rows in sets.items():
        shares: dict[str, list[float]] = {}
        for line in lines:
            if line["set"] == name and line["outside_share"]:
                shares.setdefault(line["version"], []).append(float(line["outside_share"]))
        outside = {version: float(np.mean(values)) for version, values in shares.items()}
        by_set[name] = {"films": len(rows), "outside": outside}
    lost = {(line["set"], line["key"]) for line in lines if not made(line)}
    maps = sum(made(line) for line in lines)
    films = sum(len(rows) for rows in sets.values())
    return {"films": films, "maps": maps, "skipped": len(lost), "sets": by_set}


def _written(root: Path) -> set[str]:
    """Files that the stage's index names, relative to `root`."""
    if not (root / INDEX).is_file():
        return set()
    lines = files.read_csv(root / INDEX)
    return {line[kind] for line in lines for kind in ("png", "npz") if line.get(kind)}
