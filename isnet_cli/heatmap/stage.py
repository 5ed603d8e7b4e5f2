"""Relevance maps of chosen images: overlays to look at, arrays to work with, and their index.

Written: ``index.csv``; ``<set>/<key>--<target>`` with ``.png``, ``.npz`` and the other formats
asked for; with pictures ``<set>/contact_sheet.png``; with synthetic bias ``<set>/<version>/...``
for the versions biased, standard and deceiving.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from isnet_cli.annotations.findings import Drawing, draw_all
from isnet_cli.annotations.read import find_salt, hash_annotations, read_all_annotations
from isnet_cli.config.schema import Config
from isnet_cli.core import files
from isnet_cli.core.journal import Journal, remove_files
from isnet_cli.core.names import make_names
from isnet_cli.core.parallel.shares import WHOLE, Share
from isnet_cli.core.records.read import read_rows
from isnet_cli.core.run_context import Bar, RunContext
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.core.runtime import thread_count
from isnet_cli.core.stage import StageResult
from isnet_cli.dataset.evaluation_sets import (
    Stopped,
    check_labels,
    choose_chunk_size,
    choose_sets,
    list_versions,
    raise_if_stopped,
    select_version,
    split_into_chunks,
)
from isnet_cli.dataset.image_dataset import ImageDataset, Version
from isnet_cli.errors import IsnetError
from isnet_cli.heatmap import check
from isnet_cli.heatmap.files import own_limit, shared_limit
from isnet_cli.heatmap.writer import (
    COLUMNS,
    FILES,
    Explained,
    Line,
    MapWriter,
    has_map,
    list_sheets,
    write_sheet,
)
from isnet_cli.images.kept import read_size
from isnet_cli.images.manifest import read_manifest
from isnet_cli.images.types import Row
from isnet_cli.inference.explainers import check_method, explain, read_method
from isnet_cli.inference.predictor import (
    Predictor,
    dependencies,
    open_predictor,
    shared_settings,
)
from isnet_cli.labels.values import parse_label
from isnet_cli.output.dicom.writer import KINDS, prepare_dicom

NAME = "heatmap"
SHARES = True
FORMAT = 3  # raise when the same inputs give another result
INDEX = "index.csv"
BATCH = 8  # images explained at a time, at most
MODES = ("predicted", "true", "all")


def fingerprint(config: Config, folder: RunFolder) -> str:
    """Hash of the model, the images, the masks and the settings that the maps depend on.

    Raises:
        IsnetError: When ingest, masks or the model are missing.
    """
    parts = [*dependencies(config, config.heatmap.model, folder), *hash_annotations(config)]
    return files.fingerprint(settings(config), *parts)


def settings(config: Config) -> list[Any]:
    """What of the configuration the maps depend on."""
    unused = {"model"} if config.heatmap.check else {"model", "check"}
    own = config.heatmap.model_dump(exclude=unused)
    drawn = config.evaluate.annotations
    return [NAME, FORMAT, own, *([drawn] if drawn else []), *shared_settings(config)]


def run(config: Config, folder: RunFolder, context: RunContext) -> StageResult:
    """Makes and writes the maps of up to ``heatmap.limit`` images of each set.

    Returns:
        Output ``index.csv``; summary: numbers of images and maps, of images without a map
        (``skipped``), and the mean share outside the lungs of each set.

    Raises:
        IsnetError: Kind "config" for an unknown set or target, or a network for which the method is
            not defined; "data" for a class that the model does not know; "weights" for a missing
            model.
    """
    predictor = open_predictor(config, config.heatmap.model, folder)
    _check_target(config.heatmap.target, predictor)
    check_method(predictor)
    rows = read_manifest(folder.stage_dir("ingest") / "manifest.csv")
    sets = choose_sets(rows, config.heatmap.sets, "heatmap.sets")
    check_labels(sets, predictor.classes, predictor.task)
    chosen = {name: choose_images(images, config.heatmap.limit) for name, images in sets.items()}
    drawn = read_all_annotations(config, find_salt(config, folder), chosen, rows, needed=False)
    root = folder.stage_dir(NAME)
    prepare_dicom(config.heatmap.formats, root)
    old = _written(root)
    lines: list[Line] = []
    steps = sum(
        len(select_version(r, v)) for r in chosen.values() for v in list_versions(r, config)
    )
    steps *= 2 if config.heatmap.scale == "set" else 1
    checked = _choose_checked(config, sets)
    steps += check.count_steps(checked)
    try:
        with (
            Journal(root, _work(config, folder), context.share) as journal,
            context.progress.bar("heatmap", steps) as bar,
        ):
            maker = _MapMaker(journal, bar, context)
            places = make_names(chosen)
            for name, images in chosen.items():
                looks = list_versions(images, config)
                writers = [
                    MapWriter(
                        predictor, root, name, version, places[name],
                        annotations=drawn[name].findings if name in drawn else {},
                    )
                    for version in looks
                ]  # fmt: skip
                if config.heatmap.scale == "set":
                    limit = shared_limit([x for w in writers for x in maker.limits(w, images)])
                    writers = [replace(writer, limit=limit) for writer in writers]
                for writer in writers:
                    made_here = maker.maps(writer, images)
                    if not context.share.whole:
                        continue
                    write_sheet(writer, made_here)
                    lines += made_here
            if not context.share.whole:
                journal.end_share()
                return StageResult([], {}, complete=False)
            verdicts = {}
            if checked:
                verdicts = check.Checker(predictor, checked, journal, bar, context).run(root)
            else:
                remove_files(root, check.list_files())
            files.write_csv(root / INDEX, COLUMNS, lines)
            remove_files(root, old - _written(root))
            journal.complete()
    except Stopped:
        return StageResult([], {}, complete=False)
    sheets = sorted(list_sheets(lines))
    products = sorted({root / line[kind] for line in lines for kind in FILES if line.get(kind)})
    return StageResult(
        [
            root / INDEX,
            *(root / name for name in (*sheets, *(check.list_files() if checked else []))),
        ],
        {**_summary(lines, chosen), **check.summarise_verdicts(verdicts)},
        products=products,
    )


def _choose_checked(config: Config, sets: dict[str, list[Row]]) -> list[Row]:
    """The images of the sanity checks, as even over sets and labels as they allow."""
    if not config.heatmap.check:
        return []
    each = -(-check.MOST // len(sets))
    return [row for rows in sets.values() for row in choose_images(rows, each)][: check.MOST]


def _work(config: Config, folder: RunFolder) -> str:
    """Hash of what unfinished work depends on: the result, and the batches it is made in."""
    return files.fingerprint(fingerprint(config, folder), _batch_size(config))


def _batch_size(config: Config) -> int:
    return min(BATCH, config.evaluate.batch_size)


def choose_images(rows: Sequence[Row], limit: int | None) -> list[Row]:
    """Up to `limit` images, as even over the labels as they allow, in the order of `rows`.

    Within a label images are chosen by the hash of their key: the choice looks random, is the same
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


Work = Callable[[MapWriter, ImageDataset, dict[int, Explained]], Iterator[tuple[Any, list[Path]]]]


@dataclass(frozen=True)
class _MapMaker:
    """Goes through images batch by batch and notes what was done for each.

    Attributes:
        journal: What is done, by an earlier, killed run included.
        bar: Progress.
        context: May ask to stop.
    """

    journal: Journal
    bar: Bar
    context: RunContext

    def maps(self, writer: MapWriter, images: Sequence[Row]) -> list[Line]:
        """Makes and writes the maps of a set in one version: lines of the index.

        Of a share, only its chunks are made.
        """
        found = self._each(writer, images, "", _write_maps, self.context.share)
        return [line for lines in found for line in lines]

    def limits(self, writer: MapWriter, images: Sequence[Row]) -> list[float]:
        """The colour limit that each of those maps would take alone; every share needs them all."""
        found = self._each(writer, images, "limit/", _find_limits, WHOLE)
        return [limit for some in found for limit in some]

    def _each(
        self, writer: MapWriter, images: Sequence[Row], kind: str, work: Work, share: Share
    ) -> list[Any]:
        rows = [images[i] for i in select_version(images, writer.version)]
        chunks = split_into_chunks(rows, choose_chunk_size(writer.predictor.config))
        for number, chunk in enumerate(chunks):
            if share.owns(number):
                self._chunk(writer, chunk, kind, work)
        found = [self.journal.get(kind + writer.part(row)) for row in rows]
        return found if share.whole else [content for content in found if content is not None]

    def _chunk(self, writer: MapWriter, rows: Sequence[Row], kind: str, work: Work) -> None:
        """Does what is not done of a chunk.

        The network sees the same batches however much of them is done: the last bits of a result
        depend on what stands beside it in a batch.
        """
        todo = {
            i for i, row in enumerate(rows) if self.journal.get(kind + writer.part(row)) is None
        }
        self.bar.advance(len(rows) - len(todo))
        if not todo:
            return
        dataset = writer.predictor.load(rows)
        drawn = {} if kind else _draw_findings(writer, [rows[i] for i in todo], self.context)
        for batch in split_into_chunks(range(len(rows)), _batch_size(writer.predictor.config)):
            if todo.isdisjoint(batch):
                continue
            raise_if_stopped(self.context)
            found = _explain(writer.predictor, dataset, batch, writer.version)
            lacking = {
                index: replace(found[index], findings=drawn.get(rows[index].key, ()))
                for index in batch
                if index in todo
            }
            done = work(writer, dataset, lacking)
            for index, (content, written) in zip(lacking, done, strict=True):
                self.journal.add(kind + writer.part(rows[index]), content, written)
                self.bar.advance()


def _draw_findings(
    writer: MapWriter, rows: Sequence[Row], context: RunContext
) -> dict[str, list[tuple[str, NDArray[np.bool_]]]]:
    """Annotated findings of images at the kept images' size; those that cannot be drawn not."""
    config, ingest = writer.predictor.config, writer.predictor.folder.stage_dir("ingest")
    tasks = [
        (row.key, Drawing(one, (row.height, row.width), size, config.limits))
        for row in rows
        if (own := writer.annotations.get(row.key))
        for size in [read_size(ingest / row.image_file)]
        for one in own
    ]
    masks = draw_all([drawing for _, drawing in tasks], config, context.stop_requested)
    if masks is None:
        raise Stopped
    found: dict[str, list[tuple[str, NDArray[np.bool_]]]] = {}
    for (key, drawing), mask in zip(tasks, masks, strict=True):
        if not isinstance(mask, str):
            found.setdefault(key, []).append((drawing.finding.label, mask))
    return found


def _find_limits(
    writer: MapWriter, dataset: ImageDataset, found: dict[int, Explained]
) -> Iterator[tuple[list[float], list[Path]]]:
    method = read_method(writer.predictor)
    for index, explained in found.items():
        frame = writer.frame(dataset.rows[index])
        maps = [values.sum(axis=0) for values in explained.maps.values()]
        finite = [values for values in maps if np.isfinite(values).all()]
        yield [own_limit(values, frame, method) for values in finite], []


def _write_maps(
    writer: MapWriter, dataset: ImageDataset, found: dict[int, Explained]
) -> Iterator[tuple[list[Line], list[Path]]]:
    """Draws and writes images in threads (compression releases the interpreter), in order."""
    config = writer.predictor.config
    threads = max(1, thread_count(config.machine.workers))
    if set(KINDS) & set(config.heatmap.formats):
        threads = 1  # the DICOM libraries are silenced for the whole process at a time
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(lambda item: writer.write(dataset, *item), found.items())


def _explain(
    predictor: Predictor, dataset: ImageDataset, batch: Sequence[int], version: Version
) -> dict[int, Explained]:
    """What the model says about images of `dataset`, by their index, with the maps asked for."""
    images, masks = predictor.batch(dataset, batch, version)
    target, wanted = _choose_targets(predictor, [dataset.rows[i] for i in batch])
    seen, maps, totals = explain(predictor, images, target)
    if target == "predicted":
        wanted = [{int(k): 0} for k in seen.logits.argmax(axis=1)]
    return {
        index: Explained(
            seen.logits[place],
            seen.probabilities[place],
            {target: maps[place, position] for target, position in wanted[place].items()},
            masks[place],
            {target: float(totals[place, position]) for target, position in wanted[place].items()},
        )
        for place, index in enumerate(batch)
    }


def _choose_targets(predictor: Predictor, rows: Sequence[Row]) -> tuple[Any, list[dict[int, int]]]:
    """The target of a batch, and for each image: explained class -> place in its maps."""
    mode, classes = predictor.config.heatmap.target, predictor.classes
    if mode == "predicted":
        return mode, []
    if mode == "all":
        wanted = [list(range(len(classes)))] * len(rows)
    elif mode == "true":
        known = [parse_label(row.label, predictor.task) for row in rows]
        wanted = [[classes.index(name) for name, yes in k.items() if yes == 1] for k in known]
    else:
        wanted = [[classes.index(mode)]] * len(rows)
    if any(len(some) > 1 for some in wanted):
        return "all", [{k: k for k in some} for some in wanted]
    one = torch.tensor([some[0] if some else 0 for some in wanted])
    return one, [dict.fromkeys(some, 0) for some in wanted]


def _summary(lines: list[Line], sets: dict[str, list[Row]]) -> dict[str, Any]:
    by_set: dict[str, Any] = {}
    for name, rows in sets.items():
        shares: dict[str, list[float]] = {}
        for line in lines:
            if line["set"] == name and line["outside_share"]:
                shares.setdefault(line["version"], []).append(float(line["outside_share"]))
        outside = {version: float(np.mean(values)) for version, values in shares.items()}
        by_set[name] = {"images": len(rows), "outside": outside}
    lost = {(line["set"], line["key"]) for line in lines if not has_map(line)}
    maps = sum(has_map(line) for line in lines)
    images = sum(len(rows) for rows in sets.values())
    return {"images": images, "maps": maps, "skipped": len(lost), "sets": by_set}


def _written(root: Path) -> set[str]:
    """Files that the stage's index names, relative to `root`."""
    if not (root / INDEX).is_file():
        return set()
    lines = read_rows(
        root / INDEX, ("set", "version", "key"), fix="isnet heatmap CONFIG --overwrite",
        files=FILES,
    )  # fmt: skip
    named = {line[kind] for line in lines for kind in FILES if line.get(kind)}
    return named | list_sheets(lines)
