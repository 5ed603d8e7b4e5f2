"""The masks stage: given files and the network, faults, continuation, what is written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from isnet_cli.config.schema import Config
from isnet_cli.data.films import save_film
from isnet_cli.data.manifest import rows_to_dicts
from isnet_cli.data.types import ROW_FIELDS, Row
from isnet_cli.errors import IsnetError
from isnet_cli.ports import Ports
from isnet_cli.runs.files import read_csv, sha256_file, write_csv
from isnet_cli.runs.folder import RunFolder
from isnet_cli.stages import masks
from isnet_cli.stages.journal import NAME as JOURNAL
from isnet_cli.stages.pipeline import run_stage

Mask = NDArray[np.bool_]
SIZES = {"a/one": (300, 260), "a/two": (512, 640), "three": (220, 220), "b/four": (400, 300)}


def lungs(size: tuple[int, int]) -> Mask:
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    y, x = (y + 0.5) / size[0] - 0.48, (x + 0.5) / size[1] - 0.5
    sides = [((x - shift) / 0.13) ** 2 + (y / 0.3) ** 2 <= 1 for shift in (-0.21, 0.21)]
    return np.asarray(sides[0] | sides[1])


def film(size: tuple[int, int], seed: int) -> NDArray[np.float32]:
    noise = np.random.default_rng(seed).normal(0, 0.02, size)
    return np.clip(0.75 - 0.5 * lungs(size) + noise, 0, 1).astype(np.float32)


def ingested(path: Path, **mask_files: str) -> RunFolder:
    """A run whose ingest stage is finished; `mask_files` by key ("/" written as "__")."""
    folder = RunFolder(path)
    root = folder.stage_dir("ingest")
    rows = [Row("gone", status="skipped", reason="unreadable: not a picture")]
    for number, (key, size) in enumerate(SIZES.items()):
        target = root / "films" / f"{key}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        save_film(target, film(size, number))
        given = mask_files.get(key.replace("/", "__"), "")
        height, width = size
        rows.append(Row(key, film=f"films/{key}.png", height=height, width=width, mask_file=given))
    write_csv(root / "manifest.csv", ROW_FIELDS, rows_to_dicts(rows))
    folder.begin("ingest", "x")
    folder.finish("ingest", "x", [root / "manifest.csv"], {})
    return folder


def config(**settings: Any) -> Config:
    return Config.model_validate(
        {"masks": {"batch_size": 2, **settings}, "machine": {"device": "cpu", "workers": 2}}
    )


def write_mask(path: Path, mask: NDArray[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = mask.astype(np.uint8) * 255 if mask.dtype == bool else mask
    Image.fromarray(values).save(path)
    return path


def given_masks(root: Path, names: Callable[[str], str] = lambda key: f"{key}.png") -> Path:
    for key, size in SIZES.items():
        write_mask(root / names(key), lungs(size))
    return root


def table(folder: RunFolder) -> dict[str, dict[str, str]]:
    return {line["key"]: line for line in read_csv(folder.stage_dir("masks") / "qc.csv")}


def hashes(folder: RunFolder) -> dict[str, str]:
    root = folder.stage_dir("masks")
    return {
        path.relative_to(root).as_posix(): sha256_file(path)
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


class Heard(Ports):
    """Ports that keep what was said and stop at the n-th question."""

    def __init__(self, stop_after: int = 10**9) -> None:
        self.warnings: list[str] = []
        self.left = stop_after
        super().__init__(
            warn=lambda category, text: self.warnings.append(text), stop_requested=self._stop
        )

    def _stop(self) -> bool:
        self.left -= 1
        return self.left < 0


def test_the_network_masks_every_film_at_its_original_size(tmp_path: Path) -> None:
    folder = ingested(tmp_path / "run")
    outcome = run_stage(masks, config(), folder, Ports())
    assert outcome.summary["origins"] == {"lung-unet": 4}
    root = folder.stage_dir("masks")
    lines = table(folder)
    assert list(lines) == list(SIZES)  # the skipped film has no line
    for key, size in SIZES.items():
        if lines[key]["verdict"] == "missing":
            assert not (root / f"{key}.png").exists()
            continue
        with Image.open(root / f"{key}.png") as image:
            assert (image.mode, image.size[::-1], image.info) == ("L", size, {})
            assert set(np.unique(np.asarray(image))) == {0, 255}
        assert 0 < float(lines[key]["margin"]) <= 1
    assert any(line["verdict"] == "ok" for line in lines.values())
    with Image.open(root / "contact_sheet.png") as sheet:
        assert sheet.width > 4 * 176
    assert not (root / JOURNAL).exists()


def test_a_second_run_does_nothing_and_a_forced_one_gives_the_same_bytes(tmp_path: Path) -> None:
    folder = ingested(tmp_path / "run")
    assert run_stage(masks, config(), folder, Ports()).status == "done"
    before = hashes(folder)
    assert run_stage(masks, config(), folder, Ports()).status == "current"
    assert run_stage(masks, config(), folder, Ports(), force=True).status == "done"
    assert hashes(folder) == before


def test_a_stopped_run_continues_and_equals_an_undisturbed_one(tmp_path: Path) -> None:
    whole, parts = ingested(tmp_path / "whole"), ingested(tmp_path / "parts")
    run_stage(masks, config(), whole, Ports())
    first = run_stage(masks, config(), parts, Heard(stop_after=1))
    assert (first.status, first.summary["films"]) == ("incomplete", 2)
    root = parts.stage_dir("masks")
    assert not (root / "qc.csv").exists()
    stamps = {path: path.stat().st_mtime_ns for path in root.rglob("*.png")}
    assert stamps
    assert run_stage(masks, config(), parts, Ports()).status == "done"
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())
    assert hashes(parts) == hashes(whole)


def test_a_mask_damaged_between_two_runs_is_made_again(tmp_path: Path) -> None:
    whole, parts = ingested(tmp_path / "whole"), ingested(tmp_path / "parts")
    run_stage(masks, config(), whole, Ports())
    run_stage(masks, config(), parts, Heard(stop_after=1))
    for path in parts.stage_dir("masks").rglob("*.png"):
        path.write_bytes(b"cut off")
    run_stage(masks, config(), parts, Ports())
    assert hashes(parts) == hashes(whole)


def test_workers_and_torch_threads_change_nothing(tmp_path: Path) -> None:
    import torch

    before = torch.get_num_threads()
    results = []
    for workers in (0, 3):
        folder = ingested(tmp_path / str(workers))
        settings = config().model_copy(
            update={"machine": config().machine.model_copy(update={"workers": workers})}
        )
        run_stage(masks, settings, folder, Ports())
        results.append(hashes(folder))
    assert results[0] == results[1]
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    "names",
    [
        lambda key: f"{key}.png",
        lambda key: f"deep/{key.rpartition('/')[2]}_mask.png",
        lambda key: f"{key}.tif",
    ],
)
def test_masks_of_a_folder_are_taken_as_they_are(
    tmp_path: Path, names: Callable[[str], str]
) -> None:
    folder = ingested(tmp_path / "run")
    given = given_masks(tmp_path / "given", names)
    run_stage(masks, config(files=str(given), model="none"), folder, Ports())
    lines = table(folder)
    assert {line["origin"] for line in lines.values()} == {"file"}
    assert {line["verdict"] for line in lines.values()} == {"ok"}
    for key, size in SIZES.items():
        found = np.asarray(Image.open(folder.stage_dir("masks") / f"{key}.png"))
        assert np.array_equal(found > 0, lungs(size))


@pytest.mark.parametrize("layout", ["{}_left.png {}_right.png", "leftMask/{}.png rightMask/{}.png"])
def test_left_and_right_masks_become_one(tmp_path: Path, layout: str) -> None:
    folder = ingested(tmp_path / "run")
    given = tmp_path / "given"
    for key, size in SIZES.items():
        whole, name = lungs(size), key.rpartition("/")[2]
        half = np.arange(size[1]) < size[1] // 2
        for pattern, side in zip(layout.split(), (half, ~half), strict=True):
            write_mask(given / pattern.format(name), whole & side)
    run_stage(masks, config(files=str(given), model="none"), folder, Ports())
    for key, size in SIZES.items():
        found = np.asarray(Image.open(folder.stage_dir("masks") / f"{key}.png"))
        assert np.array_equal(found > 0, lungs(size))


def test_given_masks_that_cannot_be_used_become_rows_and_are_not_replaced(tmp_path: Path) -> None:
    given = tmp_path / "given"
    grey = np.linspace(0, 255, 512 * 640).astype(np.uint8).reshape(512, 640)
    wrong = {
        "a__one": write_mask(given / "1.png", lungs((150, 130))),
        "a__two": write_mask(given / "2.png", grey),
        "three": given / "absent.png",
    }
    (given / "4.png").write_bytes(b"no picture")
    wrong["b__four"] = given / "4.png"
    folder = ingested(tmp_path / "run", **{key: str(path) for key, path in wrong.items()})
    heard = Heard()
    outcome = run_stage(masks, config(), folder, heard)
    lines = table(folder)
    reasons = {key: line["reason"].partition(":")[0] for key, line in lines.items()}
    assert reasons == {
        "a/one": "mask_size",
        "a/two": "mask_values",
        "three": "mask_missing",
        "b/four": "mask_unreadable",
    }
    assert "130 x 150 pixels, expected the film's 260 x 300" in lines["a/one"]["reason"]
    assert {line["origin"] for line in lines.values()} == {"file"}
    assert outcome.summary["skipped"] == outcome.summary["missing"] == 4
    assert "4 of 4 lung masks are suspect or missing" in heard.warnings[0]
    assert not list(folder.stage_dir("masks").rglob("[!c]*.png"))  # the contact sheet alone


def test_films_without_a_given_mask_get_the_networks_with_a_warning(tmp_path: Path) -> None:
    given = tmp_path / "given"
    write_mask(given / "three.png", lungs(SIZES["three"]))
    folder, heard = ingested(tmp_path / "run"), Heard()
    run_stage(masks, config(files=str(given)), folder, heard)
    origins = {key: line["origin"] for key, line in table(folder).items()}
    assert origins == {**dict.fromkeys(SIZES, "lung-unet"), "three": "file"}
    assert heard.warnings[0] == "3 of 4 films have no given mask: lung-unet makes theirs"


def test_without_a_network_they_are_missing(tmp_path: Path) -> None:
    folder = ingested(
        tmp_path / "run", three=str(write_mask(tmp_path / "m.png", lungs((220, 220))))
    )
    outcome = run_stage(masks, config(model="none"), folder, Ports())
    assert (outcome.summary["ok"], outcome.summary["missing"]) == (1, 3)
    assert table(folder)["a/one"]["reason"].startswith("mask_missing: ")


def test_a_folder_of_foreign_masks_is_refused(tmp_path: Path) -> None:
    given = tmp_path / "given"
    write_mask(given / "other.png", lungs((50, 50)))
    with pytest.raises(IsnetError, match="none of its masks is named like one of 4 films") as error:
        run_stage(masks, config(files=str(given)), ingested(tmp_path / "run"), Ports())
    assert error.value.kind == "data"
    assert "film a/one" in error.value.details


def test_an_unknown_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IsnetError, match="'lung-net': no such network") as error:
        run_stage(masks, config(model="lung-net"), ingested(tmp_path / "run"), Ports())
    assert error.value.kind == "weights"


def one_sided(root: Path) -> Path:
    given = given_masks(root)
    half = lungs(SIZES["three"])
    half[:, 110:] = False
    write_mask(given / "three.png", half)
    return given


def test_on_suspect_fail_ends_the_run_and_exclude_then_needs_no_new_work(tmp_path: Path) -> None:
    folder, given = ingested(tmp_path / "run"), one_sided(tmp_path / "given")
    with pytest.raises(IsnetError, match=r"1 of 4 lung masks are suspect .*one-sided 1") as error:
        run_stage(masks, config(files=str(given), on_suspect="fail"), folder, Ports())
    assert error.value.details[0].startswith("three: one-sided")
    assert folder.stage_record("masks") is None
    path = folder.stage_dir("masks") / "a" / "one.png"
    stamp = path.stat().st_mtime_ns
    heard = Heard()
    outcome = run_stage(masks, config(files=str(given)), folder, heard)
    assert (outcome.status, outcome.summary["suspect"]) == ("done", 1)
    assert path.stat().st_mtime_ns == stamp
    assert "left out of training" in heard.warnings[0]


def test_a_changed_mask_file_a_threshold_and_new_films_make_the_stage_stale(tmp_path: Path) -> None:
    folder, given = ingested(tmp_path / "run"), given_masks(tmp_path / "given")
    first = masks.fingerprint(config(files=str(given)), folder)
    assert first == masks.fingerprint(config(files=str(given), on_suspect="keep"), folder)
    assert first != masks.fingerprint(config(files=str(given), threshold=0.6), folder)
    write_mask(given / "three.png", np.zeros((220, 220), bool))
    second = masks.fingerprint(config(files=str(given)), folder)
    assert first != second
    folder.finish("ingest", "y", [folder.stage_dir("ingest") / "films" / "three.png"], {})
    assert second != masks.fingerprint(config(files=str(given)), folder)


def test_masks_of_films_that_are_gone_are_removed(tmp_path: Path) -> None:
    folder, given = ingested(tmp_path / "run"), given_masks(tmp_path / "given")
    run_stage(masks, config(files=str(given)), folder, Ports())
    manifest = folder.stage_dir("ingest") / "manifest.csv"
    rows = [row for row in read_csv(manifest) if row["key"] != "a/one"]
    write_csv(manifest, ROW_FIELDS, rows)
    folder.finish("ingest", "y", [manifest], {})
    own = folder.stage_dir("masks") / "my own.png"
    shutil.copy(folder.stage_dir("masks") / "three.png", own)
    run_stage(masks, config(files=str(given)), folder, Ports())
    names = set(hashes(folder))
    assert "a/one.png" not in names
    assert {"a/two.png", "my own.png"} <= names
