"""The masks stage: what is written, continuation, warnings and refusals."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from isnet_cli.core.files import read_csv, sha256_file, write_csv
from isnet_cli.core.journal import NAME as JOURNAL
from isnet_cli.core.pipeline import run_stage
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.errors import IsnetError
from isnet_cli.masks import stage as masks
from isnet_models import registry
from tests.masks.factory import SIZES, given_masks, ingested, lungs, settings, write_mask


def table(folder: RunFolder) -> dict[str, dict[str, str]]:
    return {line["key"]: line for line in read_csv(folder.stage_dir("masks") / "qc.csv")}


def hashes(folder: RunFolder) -> dict[str, str]:
    root = folder.stage_dir("masks")
    return {
        path.relative_to(root).as_posix(): sha256_file(path)
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


class Heard(RunContext):
    """RunContext that keep the warnings and stop at the n-th question."""

    def __init__(self, stop_after: int = 10**9) -> None:
        self.warnings: list[str] = []
        self.left = stop_after
        super().__init__(
            warn=lambda category, text: self.warnings.append(text), stop_requested=self._stop
        )

    def _stop(self) -> bool:
        self.left -= 1
        return self.left < 0


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run whose masks the network made with two workers; tests read it."""
    folder = ingested(tmp_path_factory.mktemp("undisturbed") / "run")
    assert run_stage(masks, settings(), folder, RunContext()).status == "done"
    return folder


def test_the_network_masks_every_image_at_its_original_size(undisturbed: RunFolder) -> None:
    folder = undisturbed
    record = folder.stage_record("masks")
    assert record is not None
    assert record["summary"]["origins"] == {"lung-unet": 4}
    root = folder.stage_dir("masks")
    lines = table(folder)
    assert list(lines) == list(SIZES)  # the skipped image has no line
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
        assert sheet.width > 4 * 144
    assert not (root / JOURNAL).exists()


def test_a_second_run_does_nothing_and_a_forced_one_gives_the_same_bytes(
    undisturbed: RunFolder, tmp_path: Path
) -> None:
    folder = RunFolder(shutil.copytree(undisturbed.path, tmp_path / "run"))
    before = hashes(folder)
    assert run_stage(masks, settings(), folder, RunContext()).status == "current"
    assert run_stage(masks, settings(), folder, RunContext(), force=True).status == "done"
    assert hashes(folder) == before


def test_a_stopped_run_continues_and_equals_an_undisturbed_one(
    undisturbed: RunFolder, tmp_path: Path
) -> None:
    parts = ingested(tmp_path / "parts")
    first = run_stage(masks, settings(), parts, Heard(stop_after=1))
    assert (first.status, first.summary["images"]) == ("incomplete", 2)
    root = parts.stage_dir("masks")
    assert not (root / "qc.csv").exists()
    stamps = {path: path.stat().st_mtime_ns for path in root.rglob("*.png")}
    assert stamps
    assert run_stage(masks, settings(), parts, RunContext()).status == "done"
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())
    assert hashes(parts) == hashes(undisturbed)


def test_a_mask_damaged_between_two_runs_is_made_again(
    undisturbed: RunFolder, tmp_path: Path
) -> None:
    parts = ingested(tmp_path / "parts")
    run_stage(masks, settings(), parts, Heard(stop_after=1))
    for path in parts.stage_dir("masks").rglob("*.png"):
        path.write_bytes(b"cut off")
    run_stage(masks, settings(), parts, RunContext())
    assert hashes(parts) == hashes(undisturbed)


def test_the_number_of_workers_changes_nothing(undisturbed: RunFolder, tmp_path: Path) -> None:
    before, folder = torch.get_num_threads(), ingested(tmp_path / "run")
    run_stage(masks, settings(workers=0), folder, RunContext())
    assert hashes(folder) == hashes(undisturbed)
    assert torch.get_num_threads() == before


def test_torch_threads_are_restored_after_a_failure(tmp_path: Path) -> None:
    folder, before = ingested(tmp_path / "run"), torch.get_num_threads()
    (folder.stage_dir("ingest") / "images" / "three.png").write_bytes(b"damaged")
    with pytest.raises(IsnetError, match=r"three\.png"):
        run_stage(masks, settings(), folder, RunContext())
    assert torch.get_num_threads() == before


def test_given_masks_are_taken_as_they_are(tmp_path: Path) -> None:
    folder = ingested(tmp_path / "run", given_masks(tmp_path / "given"))
    run_stage(masks, settings(model="none"), folder, RunContext())
    lines = table(folder)
    assert {line["origin"] for line in lines.values()} == {"file"}
    assert {line["verdict"] for line in lines.values()} == {"ok"}
    for key, size in SIZES.items():
        found = np.asarray(Image.open(folder.stage_dir("masks") / f"{key}.png"))
        assert np.array_equal(found > 0, lungs(size))


def test_given_masks_that_cannot_be_used_are_reported_and_not_replaced(tmp_path: Path) -> None:
    given = given_masks(tmp_path / "given")
    write_mask(given["a/one"], lungs((150, 130)))
    given["three"].unlink()
    folder, heard = ingested(tmp_path / "run", given), Heard()
    outcome = run_stage(masks, settings(), folder, heard)
    lines = table(folder)
    assert {key: line["verdict"] for key, line in lines.items()} == {
        "a/one": "missing", "a/two": "ok", "three": "missing", "b/four": "ok",
    }  # fmt: skip
    assert lines["a/one"]["origin"] == lines["three"]["origin"] == "file"
    assert not (folder.stage_dir("masks") / "a" / "one.png").exists()
    assert outcome.summary["skipped"] == outcome.summary["missing"] == 2
    assert outcome.summary["reasons"] == {"mask_missing": 1, "mask_size": 1}
    assert "2 of 4 lung masks are suspect or missing" in heard.warnings[0]


def test_images_without_a_given_mask_get_the_networks_with_a_warning(tmp_path: Path) -> None:
    given = {"three": write_mask(tmp_path / "three.png", lungs(SIZES["three"]))}
    folder, heard = ingested(tmp_path / "run", given), Heard()
    run_stage(masks, settings(), folder, heard)
    origins = {key: line["origin"] for key, line in table(folder).items()}
    assert origins == {**dict.fromkeys(SIZES, "lung-unet"), "three": "file"}
    assert heard.warnings[0] == "3 of 4 images have no given mask: lung-unet makes theirs"


def test_without_a_network_they_are_missing(tmp_path: Path) -> None:
    given = {"three": write_mask(tmp_path / "three.png", lungs(SIZES["three"]))}
    folder = ingested(tmp_path / "run", given)
    outcome = run_stage(masks, settings(model="none"), folder, RunContext())
    assert (outcome.summary["ok"], outcome.summary["missing"]) == (1, 3)
    assert table(folder)["a/one"]["reason"].startswith("mask_missing: ")


def test_a_folder_of_foreign_masks_is_refused(tmp_path: Path) -> None:
    folder, config = ingested(tmp_path / "run"), settings(files=str(tmp_path))
    with pytest.raises(
        IsnetError, match="none of its masks is named like one of 4 images"
    ) as error:
        run_stage(masks, config, folder, RunContext())
    assert error.value.kind == "data"
    assert "image a/one" in error.value.details


def test_an_unknown_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IsnetError, match="'lung-net': no such network") as error:
        run_stage(masks, settings(model="lung-net"), ingested(tmp_path / "run"), RunContext())
    assert error.value.kind == "weights"


def test_another_network_takes_the_place_of_one_that_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(registry.CARDS, tmp_path / "cards")
    for path in (tmp_path / "cards").glob("lung-unet.*"):
        path.unlink()
    monkeypatch.setattr(registry, "CARDS", tmp_path / "cards")
    folder, heard = ingested(tmp_path / "run"), Heard()
    run_stage(masks, settings(), folder, heard)
    assert {line["origin"] for line in table(folder).values()} == {"lung-unet-open"}
    said = "masks.model: lung-unet is not part of this installation: lung-unet-open is used"
    assert heard.warnings[0] == said
    monkeypatch.undo()
    named = ingested(tmp_path / "named")
    run_stage(masks, settings(model="lung-unet-open"), named, RunContext())
    for key in SIZES:
        one, two = (run.stage_dir("masks") / f"{key}.png" for run in (folder, named))
        assert one.exists() == two.exists()
        assert not one.exists() or one.read_bytes() == two.read_bytes()


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    from isnet_models.registry import CARDS

    for ending in ("json", "safetensors"):
        shutil.copy(CARDS / f"lung-unet.{ending}", tmp_path)
    own = tmp_path / "lung-unet.safetensors"
    own.write_bytes(own.read_bytes()[:-8])
    with pytest.raises(IsnetError, match="damaged or replaced") as error:
        run_stage(masks, settings(model=str(own)), ingested(tmp_path / "run"), RunContext())
    assert error.value.kind == "weights"


def test_a_image_named_like_the_contact_sheet_is_refused(tmp_path: Path) -> None:
    folder = ingested(tmp_path / "run")
    manifest = folder.stage_dir("ingest") / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("\nthree,", "\nContact_Sheet,"))
    with pytest.raises(IsnetError, match=r"ingest/manifest\.csv was changed since it was written"):
        run_stage(masks, settings(), folder, RunContext())
    folder.finish("ingest", "x", [manifest], {})
    with pytest.raises(IsnetError, match="contact sheet has this name"):
        run_stage(masks, settings(), folder, RunContext())


def one_sided(root: Path) -> dict[str, Path]:
    given = given_masks(root)
    half = lungs(SIZES["three"])
    half[:, 110:] = False
    write_mask(given["three"], half)
    return given


def test_on_suspect_fail_ends_the_run_and_exclude_then_needs_no_new_work(tmp_path: Path) -> None:
    folder = ingested(tmp_path / "run", one_sided(tmp_path / "given"))
    with pytest.raises(IsnetError, match=r"1 of 4 lung masks are suspect .*one-sided 1") as error:
        run_stage(masks, settings(on_suspect="fail"), folder, RunContext())
    assert error.value.details[0].startswith("three: one-sided")
    assert folder.stage_record("masks") is None
    path = folder.stage_dir("masks") / "a" / "one.png"
    stamp = path.stat().st_mtime_ns
    heard = Heard()
    outcome = run_stage(masks, settings(), folder, heard)
    assert (outcome.status, outcome.summary["suspect"]) == ("done", 1)
    assert path.stat().st_mtime_ns == stamp
    assert "left out of training" in heard.warnings[0]


def test_what_makes_the_stage_stale_and_what_does_not(tmp_path: Path) -> None:
    given = given_masks(tmp_path / "given")
    folder = ingested(tmp_path / "run", given)
    first = masks.fingerprint(settings(), folder)
    assert first == masks.fingerprint(settings(workers=0, on_suspect="keep"), folder)
    assert first != masks.fingerprint(settings(threshold=0.6), folder)
    assert first != masks.fingerprint(settings(model="none"), folder)
    write_mask(given["three"], np.zeros((220, 220), bool))
    second = masks.fingerprint(settings(), folder)
    assert first != second
    folder.finish("ingest", "y", [folder.stage_dir("ingest") / "images" / "three.png"], {})
    assert second != masks.fingerprint(settings(), folder)


def test_masks_of_images_that_are_gone_are_removed(tmp_path: Path) -> None:
    folder = ingested(tmp_path / "run", given_masks(tmp_path / "given"))
    run_stage(masks, settings(), folder, RunContext())
    manifest = folder.stage_dir("ingest") / "manifest.csv"
    rows = read_csv(manifest)
    write_csv(manifest, list(rows[0]), [row for row in rows if row["key"] != "a/one"])
    folder.finish("ingest", "y", [manifest], {})
    own = folder.stage_dir("masks") / "my own.png"
    shutil.copy(folder.stage_dir("masks") / "three.png", own)
    run_stage(masks, settings(), folder, RunContext())
    names = set(hashes(folder))
    assert "a/one.png" not in names
    assert {"a/two.png", "my own.png"} <= names
