"""Lung masks of all images: given files, or the lung U-Net's, each judged and listed in qc.csv."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from pathlib import Path
from typing import Any

from isnet_cli.config.schema import Config
from isnet_cli.core import files, runtime
from isnet_cli.core.journal import Journal, remove_files
from isnet_cli.core.parallel.ahead import ahead
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.core.stage import StageResult
from isnet_cli.core.workers import describe_loss, make_budget, run_tasks, worker_count
from isnet_cli.errors import IsnetError
from isnet_cli.guard.worker import Lost
from isnet_cli.images.manifest import locate_masks, read_manifest, read_qc
from isnet_cli.images.mask_files import PAIR
from isnet_cli.images.types import Row
from isnet_cli.masks.contact_sheet import (
    PAGES,
    SHEET,
    TILES,
    contact_sheet_png,
    page_name,
    pages,
    tile,
)
from isnet_cli.masks.make import Maker, take_given_mask
from isnet_cli.masks.quality import QC_FIELDS
from isnet_cli.masks.viewer_files import MaskFiles
from isnet_cli.output.dicom.writer import prepare_dicom
from isnet_models.registry import (
    Card,
    WeightsError,
    explain_substitute,
    find_card,
    find_shipped,
)

NAME = "masks"
SHARES = True
FORMAT = 2  # goes up when the same settings and images give other masks or figures
NO_NETWORK = "none"  # value of masks.model: given files only
QC = "qc.csv"
TRUTH = ("truth.csv", "truth.json")  # of `isnet_cli.masks.agreement`


def fingerprint(config: Config, folder: RunFolder) -> str:
    """Hash of the settings, the images, the given mask files and the network's weights.

    Raises:
        IsnetError: Ingest is not finished, the mask folder or the network is missing.
    """
    return files.fingerprint(_work(config, folder), config.masks.on_suspect == "fail")


def settings(config: Config) -> list[Any]:
    """What of the configuration the masks depend on."""
    masks = config.masks.model_dump(mode="json", exclude={"on_suspect"})
    return [FORMAT, masks, config.masks.on_suspect == "fail"]


def find_lost(config: Config, folder: RunFolder) -> str:
    """Which given masks are not where they were, in words; or ""."""
    if config.masks.files is not None and not Path(config.masks.files).is_dir():
        return f"masks.files ({config.masks.files}): not there"
    given = [p for source in _sources(folder).values() if source for p in source.split(PAIR)]
    if given and not any(Path(path).is_file() for path in given):
        return f"{len(given)} given masks ({given[0]} ...): not there"
    return ""


def run(config: Config, folder: RunFolder, context: RunContext) -> StageResult:
    """Writes ``<key>.png`` for each image, ``qc.csv`` and contact sheets.

    An image without a given mask gets the network's, unless ``masks.model`` is ``none``; a given
    mask that cannot be used is reported and not replaced.

    Raises:
        IsnetError: Kind "data": nothing to do, no given mask fits any image, or
            ``masks.on_suspect: fail`` and a mask is not ok; "weights"; "machine".
    """
    rows = _rows(folder)
    sources = _sources(folder)
    _report_sources(sources, config, context)
    _check_spacing(rows, sources, config)
    root = folder.stage_dir(NAME)
    before = _keys_before(root)
    prepare_dicom(config.masks.formats, root)
    with Journal(root, _work(config, folder), context.share) as journal:
        done = _make_all(rows, sources, config, folder, context, journal)
        lines = [line for row in rows if (line := journal.get(row.key)) is not None]
        if done and not context.share.whole:
            journal.end_share()
        if not done or not context.share.whole:
            return StageResult([], _summary(lines), complete=False)
        files.write_csv(root / QC, QC_FIELDS, lines)
        _write_sheets(lines, {row.key: row for row in rows}, folder, context)
        remove_files(root, TRUTH)  # was about other masks; --truth compares anew
        kept = {line["key"] for line in lines if line["verdict"] != "missing"}
        remove_files(root, _further(config, folder).stale(before, kept))
        _report_verdicts(lines, config, root, context)
        journal.complete()
    sheets = [page_name(number) for number in range(len(pages(lines)))]
    further = _further(config, folder)
    products = [path for key in sorted(kept) for path in further.written(key)]
    outputs = [root / QC, *(root / name for name in sheets)]
    return StageResult(outputs, _summary(lines), products=products)


def _rows(folder: RunFolder) -> list[Row]:
    """Readable images of the manifest.

    Raises:
        IsnetError: Kind "data": ingest is not finished, or an image has the contact sheet's name.
    """
    folder.require("ingest")
    rows = read_manifest(folder.stage_dir("ingest") / "manifest.csv")
    usable = [row for row in rows if row.status == "ok"]
    taken = {page_name(number) for number in range(PAGES)}
    for row in usable:
        if f"{row.key}.png".casefold() not in taken:
            continue
        raise IsnetError(
            "data",
            f"image '{row.key}': the masks' contact sheet has this name",
            fix="rename the image's file, or data.privacy.rename: true",
        )
    return usable


def _work(config: Config, folder: RunFolder) -> str:
    """Hash of what the masks themselves depend on."""
    ingest = folder.require("ingest")["outputs"]
    given = [path for one in _sources(folder).values() if one for path in one.split(PAIR)]
    weights = "" if config.masks.model == NO_NETWORK else _card(config.masks.model).sha256
    with ThreadPoolExecutor(max(1, runtime.thread_count(None))) as pool:  # hashing frees the GIL
        hashes = list(pool.map(_hash_mask, given))
    return files.fingerprint(settings(config)[:-1], ingest, hashes, weights)


def _hash_mask(path: str) -> str:
    """SHA-256 of a given mask, or ``missing``."""
    try:
        return files.sha256_file(Path(path))
    except OSError:
        return "missing"


def _card(name: str) -> Card:
    try:
        return find_card(name)
    except WeightsError as error:
        raise _weights_fault(error) from error


def _weights_fault(error: WeightsError) -> IsnetError:
    return IsnetError(
        "weights",
        str(error),
        fix="masks.model: lung-unet, or masks.files with masks of your own; a damaged file comes"
        " back with a new installation",
    )


def _sources(folder: RunFolder) -> dict[str, str]:
    """The given mask of each key (path, or two joined by ``|``), empty where there is none."""
    return {row.key: locate_masks(row, folder.stage_dir("ingest")) for row in _rows(folder)}


def _report_sources(sources: dict[str, str], config: Config, context: RunContext) -> None:
    """Says what masks are made from; refuses to go on when given masks fit no image."""
    if not sources:
        raise IsnetError("data", "no readable image in the manifest", fix="isnet check CONFIG")
    given = sum(bool(source) for source in sources.values())
    if config.masks.files is not None and given == 0:
        raise IsnetError(
            "data",
            f"{config.masks.files}: none of its masks is named like one of {len(sources)} images",
            fix="name each mask like its image (a.dcm: a.png, or a_left.png and a_right.png), or"
            " give a mask column: data.columns.mask",
            details=tuple(f"image {key}" for key in list(sources)[:3]),
        )
    lacking, model = len(sources) - given, find_shipped(config.masks.model)
    if lacking and (note := explain_substitute(config.masks.model)):
        context.warn("weights", f"masks.model: {note}")
    if given and lacking:
        then = "they have none" if config.masks.model == NO_NETWORK else f"{model} makes theirs"
        context.warn("masks", f"{lacking} of {len(sources)} images have no given mask: {then}")
    context.say(f"lung masks: {given} given, {lacking} by {model}")


def _further(config: Config, folder: RunFolder) -> MaskFiles:
    """What writes and finds the formats asked for."""
    made = config.masks.model != NO_NETWORK
    model = _card(config.masks.model).sha256[:16] if made else "given"
    return MaskFiles(config, folder.stage_dir("ingest"), folder.stage_dir(NAME), model)


def _check_spacing(rows: Sequence[Row], sources: dict[str, str], config: Config) -> None:
    """Refuses a dilation in mm of images whose pixels have no known size."""
    if config.masks.postprocess.dilate_mm == 0 or config.masks.model == NO_NETWORK:
        return
    made = [row for row in rows if not sources[row.key]]
    lacking = [row.key for row in made if row.pixel_spacing is None]
    if lacking:
        raise IsnetError(
            "data",
            f"masks.postprocess.dilate_mm: {len(lacking)} of {len(made)} images have no pixel"
            " spacing, expected one in the header of each",
            fix="masks.postprocess.dilate_percent, or --dilate 2%",
            details=tuple(f"image {key}" for key in lacking[:3]),
        )


def _make_all(
    rows: Sequence[Row],
    sources: dict[str, str],
    config: Config,
    folder: RunFolder,
    context: RunContext,
    journal: Journal,
) -> bool:
    """Makes what the journal does not have yet; False when it was asked to stop before the end."""
    chunks = [
        chunk
        for number, chunk in enumerate(_chunks(rows, sources, config.masks.batch_size))
        if context.share.owns(number) and any(journal.get(row.key) is None for row in chunk)
    ]
    if not chunks:
        return True
    further = _further(config, folder)
    maker = Maker(
        config, folder.stage_dir("ingest"), folder.stage_dir(NAME), sources, further=further
    )
    if config.masks.model != NO_NETWORK and any(not sources[chunk[0].key] for chunk in chunks):
        maker = _with_network(maker, config, context)
    workers = max(1, runtime.thread_count(config.machine.workers))
    total, made = sum(len(chunk) for chunk in chunks), 0
    with (
        context.progress.bar("lung masks", total) as bar,
        _one_thread_each() if maker.network else contextlib.nullcontext(),
        ThreadPoolExecutor(workers) as pool,
    ):
        given = _take_given(maker, chunks, config, context)
        going = _until([chunk for chunk in chunks if not sources[chunk[0].key]], context)

        def make(chunk: list[Row]) -> list[dict[str, Any]]:
            for row in chunk:
                folder.refuse_change("ingest", row.image_file)
            return maker.make(chunk)

        for lines in chain(given, ahead(pool, make, going, depth=2 * workers)):
            for line in lines:
                absent = line["verdict"] == "missing"
                written = [] if absent else further.written(line["key"])
                journal.add(line["key"], line, written)
            bar.advance(len(lines))
            made += len(lines)
    return made == total


def _take_given(
    maker: Maker, chunks: Sequence[list[Row]], config: Config, context: RunContext
) -> Iterator[list[dict[str, Any]]]:
    """Lines of the images with given masks, read in processes of their own."""
    rows = [row for chunk in chunks for row in chunk if maker.sources[row.key]]
    done = run_tasks(
        take_given_mask, [maker.given_only(row) for row in rows],
        worker_count(config.machine.workers, len(rows), least=1),
        budget=make_budget(config.limits), stop=context.stop_requested,
    )  # fmt: skip
    for index, line in done:
        if isinstance(line, Lost):
            _, words = describe_loss(line, config.limits)
            line = maker.note_lost(rows[index], words)  # noqa: PLW2901
        yield [line]


def _with_network(maker: Maker, config: Config, context: RunContext) -> Maker:
    """`maker` with the verified network on the device that was chosen."""
    from isnet_models.lung_unet import from_card

    device = runtime.choose_device(config.machine.device)
    card = _card(config.masks.model)
    try:
        network = from_card(card, device)
    except WeightsError as error:
        raise _weights_fault(error) from error
    context.event("lung_network", model=card.name, version=card.version, device=str(device))
    return dataclasses.replace(maker, network=network, device=device)


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    """One torch thread per worker: no waiting for each other, and results of any core count."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _chunks(rows: Sequence[Row], sources: dict[str, str], size: int) -> list[list[Row]]:
    """Images with given masks and images for the network, each in chunks that never change.

    A chunk is what the network sees at once: a continued run repeats whole chunks, so that its
    masks are the same to the last bit.
    """
    chunks = []
    for given in (True, False):
        chosen = [row for row in rows if bool(sources[row.key]) is given]
        chunks += [chosen[i : i + size] for i in range(0, len(chosen), size)]
    return chunks


def _write_sheets(
    lines: Sequence[dict[str, Any]], rows: dict[str, Row], folder: RunFolder, context: RunContext
) -> None:
    """Pages of all masks, the worst first; removes an earlier result's further pages."""
    root, found = folder.stage_dir(NAME), pages(lines)
    counts = Counter(line["verdict"] for line in lines)
    said = ", ".join(f"{counts[verdict]} {verdict}" for verdict in ("ok", "suspect", "missing"))
    with (
        context.progress.bar("contact sheets", len(found)) as bar,
        ThreadPoolExecutor(max(1, runtime.thread_count(None))) as pool,
    ):
        shown = chain.from_iterable(found)
        # the next page's pictures are made while a page is put together
        tiles = ahead(pool, lambda line: tile(line, rows[line["key"]], folder), shown, depth=TILES)
        for number, chosen in enumerate(found):
            heading = (
                f"Lung masks of {len(lines)} images: {said}",
                f"The most doubtful first; page {number + 1} of {len(found)}. Reasons: {QC}",
            )
            sheet = contact_sheet_png(chosen, list(islice(tiles, len(chosen))), heading)
            files.write_bytes(root / page_name(number), sheet)
            bar.advance(1)
    remove_files(root, [page_name(number) for number in range(len(found), PAGES)])


def _until(chunks: Sequence[list[Row]], context: RunContext) -> Iterator[list[Row]]:
    """The chunks, until a stop is requested."""
    for chunk in chunks:
        if context.stop_requested():
            return
        yield chunk


def _keys_before(root: Path) -> set[str]:
    """Keys of an earlier result in this folder."""
    path = root / QC
    return {line["key"] for line in read_qc(root)} if path.is_file() else set()


def _summary(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    verdicts = Counter(line["verdict"] for line in lines)
    return {
        "images": len(lines),
        **{verdict: verdicts[verdict] for verdict in ("ok", "suspect", "missing")},
        "origins": dict(sorted(Counter(line["origin"] for line in lines).items())),
        "reasons": dict(sorted(_reasons(lines).items())),
        "skipped": verdicts["missing"],
    }


def _reasons(lines: Sequence[dict[str, Any]]) -> Counter[str]:
    """How often each reason code occurs."""
    return Counter(
        part.partition(":")[0] for line in lines for part in line["reason"].split("; ") if part
    )


def _report_verdicts(
    lines: Sequence[dict[str, Any]], config: Config, root: Path, context: RunContext
) -> None:
    """Warns about masks that are not ok; with ``on_suspect: fail`` they end the run."""
    bad = [line for line in lines if line["verdict"] != "ok"]
    if not bad:
        return
    counts = ", ".join(f"{code} {count}" for code, count in _reasons(bad).most_common())
    found = f"{len(bad)} of {len(lines)} lung masks are suspect or missing ({counts})"
    if config.masks.on_suspect == "fail":
        raise IsnetError(
            "data",
            f"{root / QC}: {found}, expected none (masks.on_suspect: fail)",
            fix=f"look at {root / SHEET}; mend these masks, or masks.on_suspect: exclude",
            details=tuple(f"{line['key']}: {line['reason']}" for line in bad[:5]),
        )
    kept = config.masks.on_suspect == "keep"
    then = "suspect ones are used" if kept else "these images are left out of training"
    context.warn("masks", f"{found}: {then}; see {root / SHEET}")
