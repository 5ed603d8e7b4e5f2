"""The program's own readers on one file: what they accept, skip with a reason, or refuse."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from isnet_cli.annotations.coco import draw, read_coco, read_coco_findings
from isnet_cli.annotations.tables import read_boxes
from isnet_cli.cli.app import main
from isnet_cli.config.benchmark import load_benchmark
from isnet_cli.config.load import load
from isnet_cli.config.schema import Columns, Labels
from isnet_cli.config.segmenter import load_segmenter
from isnet_cli.core.journal import Journal
from isnet_cli.core.run_folder import STAGES, RunFolder
from isnet_cli.core.training_loop import load_checkpoint
from isnet_cli.errors import EXIT_BUG, IsnetError, UnreadableImage
from isnet_cli.images.find import collect_images
from isnet_cli.images.header_scan import scan_header
from isnet_cli.images.mask_files import load_mask
from isnet_cli.images.read import REASONS, read_images
from isnet_cli.images.types import XRay
from isnet_cli.labels.tables import read_labels
from isnet_cli.report.results import read_cohort, read_run
from isnet_models.registry import WeightsError
from isnet_models.weights import load_weights
from tests.trust.fuzz.sources import Source

FAR = 0.01  # mean difference of accepted pixels (of 0 to 1) from the sound file's: another picture
COMMANDS = 5  # one in so many mutants of a run's records is also given to a whole command
MASK_REASONS = {"mask_missing", "mask_unreadable", "mask_values", "mask_size"}
PYTHON = re.compile(r"\b[A-Z]\w*(Error|Exception|Warning|Interrupt)\b|Traceback")
Kind = Literal["same", "far, noted", "far, silent", "skipped", "refused", "accepted", "fault"]


@dataclass(frozen=True)
class Outcome:
    """What became of one file.

    Attributes:
        kind: ``same`` and ``far``: accepted pixels; ``accepted``: any other content; ``skipped``:
            a reason of the skipped list; ``refused``: a typed error; ``fault``: anything else.
        detail: The reason, the error's kind, or what is wrong.
    """

    kind: Kind
    detail: str = ""


class Readers:
    """The readers, with a folder to write in.

    Args:
        sources: The sound files.
        home: As `make_home` leaves it; it is copied.
        place: An empty folder.
    """

    def __init__(self, sources: Sequence[Source], home: Path, place: Path) -> None:
        self.place = place
        self.config = home / "c.yaml"  # its inputs stay where they are
        self.home = place / "home"
        shutil.copytree(home, self.home)
        shutil.copytree(self.home / "run", self.home / "half")
        self._unfinish(self.home / "half")
        self.sound: dict[str, Any] = {}
        for source in sources:
            if source.reader in ("image", "mask"):
                path = self._write(source.content)
                self.sound[source.name] = (
                    read_images(path) if source.reader == "image" else load_mask(path)
                )

    def read(self, source: Source, content: bytes) -> Outcome:
        """What the program makes of `content` in the place of `source`."""
        reader: Callable[[Source, bytes], Outcome] = getattr(self, f"_{source.reader}")
        try:
            return reader(source, content)
        except UnreadableImage as fault:
            known = REASONS.keys() | MASK_REASONS
            if fault.reason not in known or not fault.detail:
                return Outcome("fault", f"reason {fault.reason!r} is not documented")
            return _worded(Outcome("skipped", fault.reason), fault.detail)
        except (IsnetError, WeightsError) as error:
            kind = error.kind if isinstance(error, IsnetError) else "weights"
            text = error.render() if isinstance(error, IsnetError) else str(error)
            return _worded(Outcome("refused", kind), text)
        except BaseException as error:  # what no caller expects
            at = error.__traceback__
            while at is not None and at.tb_next is not None:
                at = at.tb_next
            where = "" if at is None else f" at {Path(at.tb_frame.f_code.co_filename).name}"
            line = "" if at is None else f":{at.tb_lineno}"
            return Outcome("fault", f"raises {type(error).__name__}{where}{line}")

    def _write(self, content: bytes, name: str = "file") -> Path:
        path = self.place / name
        path.write_bytes(content)
        return path

    def _image(self, source: Source, content: bytes) -> Outcome:
        path = self._write(content)
        scan_header(path)
        found = read_images(path)
        right: list[XRay] = self.sound[source.name]
        for image in found:
            if image.pixels.dtype != np.float32 or not np.isfinite(image.pixels).all():
                return Outcome("fault", "pixels that are not finite float32")
        if len(found) == len(right) and all(
            _near(one.pixels, two.pixels) for one, two in zip(found, right, strict=True)
        ):
            return Outcome("same")
        known = {note for image in right for note in image.notes}
        noted = any(set(image.notes) - known for image in found)
        return Outcome("far, noted" if noted else "far, silent")

    def _mask(self, source: Source, content: bytes) -> Outcome:
        mask = load_mask(self._write(content))
        right = self.sound[source.name]
        return Outcome("same" if np.array_equal(mask, right) else "far, silent")

    def _labels(self, source: Source, content: bytes) -> Outcome:
        path = self._write(content, "labels.csv")
        read_labels(Labels(file=str(path)), Columns())
        return Outcome("accepted")

    def _findings(self, source: Source, content: bytes) -> Outcome:
        path = self._write(content, "labels.csv")
        read_labels(Labels(file=str(path), task="multilabel"), Columns())
        return Outcome("accepted")

    def _image_table(self, source: Source, content: bytes) -> Outcome:
        return self._listed(self._write(content, "images.csv"))

    def _image_list(self, source: Source, content: bytes) -> Outcome:
        return self._listed(self._write(content, "images.txt"))

    def _listed(self, path: Path) -> Outcome:
        (self.place / "a").mkdir(exist_ok=True)
        (self.place / "a/image_00.png").touch()
        for _, image in collect_images(str(path)).images:
            scan_header(image)
        return Outcome("accepted")

    def _settings(self, source: Source, content: bytes) -> Outcome:
        load(self._write(content, "c.yaml"))
        return Outcome("accepted")

    def _benchmark(self, source: Source, content: bytes) -> Outcome:
        load_benchmark(self._write(content, "b.yaml"))
        return Outcome("accepted")

    def _segmenter(self, source: Source, content: bytes) -> Outcome:
        load_segmenter(self._write(content, "lung.yaml"))
        return Outcome("accepted")

    def _boxes(self, source: Source, content: bytes) -> Outcome:
        read_boxes(self._write(content, "boxes.csv"))
        return Outcome("accepted")

    def _coco(self, source: Source, content: bytes) -> Outcome:
        for outlines in read_coco(self._write(content, "coco.json")):
            with contextlib.suppress(UnreadableImage):
                draw(outlines)
        read_coco_findings(self._write(content, "coco.json"))
        return Outcome("accepted")

    def _weights(self, source: Source, content: bytes) -> Outcome:
        load_weights(self._write(content, "a.safetensors"))
        return Outcome("accepted")

    def _checkpoint(self, source: Source, content: bytes) -> Outcome:
        load_checkpoint(self._write(content, "last.ckpt"))
        return Outcome("accepted")

    def _record(self, source: Source, content: bytes) -> Outcome:
        """A file of a run: its readers, and commands that continue or describe the run."""
        name = source.name.removeprefix("run ")
        run = self.home / ("half" if name.endswith(".ckpt") else "run")
        path = run / name
        kept = path.read_bytes()
        path.write_bytes(content)
        try:
            if name == "train/last.ckpt":
                return self._continued(run)
            if name.startswith("train/model."):
                import torch

                from isnet_cli.inference.model_files import load_model

                load_model(run, torch.device("cpu"))
            if name == "ingest/.unfinished.jsonl":
                return self._journal(path, content)
            folder = RunFolder(run)
            folder.record()
            for stage in STAGES:
                folder.stage_record(stage)
            if zlib.crc32(content) % COMMANDS == 0:
                outcome = self._command("run", self.config, "-o", run, "--dry-run")
                if outcome.kind == "fault":
                    return outcome
            read_run(folder, "run")
            read_cohort(folder, "run", ())
            return Outcome("accepted")
        finally:
            path.write_bytes(kept)

    def _journal(self, path: Path, content: bytes) -> Outcome:
        """Opened in a copy of its folder: a foreign journal may remove the files that it names."""
        import json

        folder = self.place / "journal"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / path.name).write_bytes(content)
        outside = self.place / "outside"
        outside.write_bytes(b"x")
        first = path.parent / "x"
        line = content.split(b"\n")[0]
        try:
            digest = json.loads(line)["fingerprint"]
        except (ValueError, TypeError, KeyError, RecursionError):
            digest = first.name
        with Journal(folder, str(digest)) as journal:
            journal.get("x")
        if not outside.is_file():
            return Outcome("fault", "a file outside the folder was removed")
        return Outcome("accepted")

    def _continued(self, run: Path) -> Outcome:
        """The training that a kill interrupted goes on."""
        kept = {path: path.read_bytes() for path in self._state(run)}
        try:
            return self._command("train", self.config, "-o", run)
        finally:
            for path in self._state(run):
                path.unlink()
            for path, content in kept.items():
                path.write_bytes(content)

    def _state(self, run: Path) -> list[Path]:
        return [run / "run.json", *(p for p in (run / "train").rglob("*") if p.is_file())]

    def _command(self, *words: str | Path) -> Outcome:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([str(word) for word in words])
        if code == EXIT_BUG:
            first = next((li for li in err.getvalue().splitlines() if "error" in li), "")
            return Outcome("fault", f"isnet {words[0]} ends with 1: {first[:120]}")
        text = "\n".join(li for li in err.getvalue().splitlines() if li.startswith("error"))
        return _worded(Outcome("refused" if code not in (0, 7) else "accepted", str(code)), text)

    def _unfinish(self, run: Path) -> None:
        """Puts a run back to a training that was killed after its last epoch."""
        import json

        record = json.loads((run / "run.json").read_text(encoding="utf-8"))
        record["stages"] = {
            name: entry for name, entry in record["stages"].items() if name in ("ingest", "masks")
        } | {"train": {**record["stages"]["train"], "status": "running"}}
        (run / "run.json").write_text(json.dumps(record), encoding="utf-8")
        for name in ("model.json", "model.safetensors"):
            (run / "train" / name).unlink()


def _near(one: Any, two: Any) -> bool:
    return bool(one.shape == two.shape and float(np.abs(one - two).mean()) <= FAR)


def _worded(outcome: Outcome, text: str) -> Outcome:
    """The outcome, or a fault where the text shows Python's own words or is too long."""
    found = PYTHON.search(text)
    if found:
        return Outcome("fault", f"the message names {found[0]}")
    if len(text) > 20_000:  # a configuration may have many faults
        return Outcome("fault", f"a message of {len(text)} characters")
    return outcome
