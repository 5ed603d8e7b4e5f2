"""What lies among the images and is no file, what is too large, and what a worker does not end."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from isnet_cli.config.load import load
from isnet_cli.errors import IsnetError
from isnet_cli.images.mask_files import find_masks, load_mask
from tests.ingest.factory import config, png, rows, run_ingest, two_classes


def test_what_is_no_file_is_a_row_at_once(tmp_path: Path) -> None:
    """A folder with an image's name is searched, and links that lead out are followed."""
    folder = two_classes(tmp_path)
    xrays = folder / "xrays"
    os.mkfifo(xrays / "pipe.png")
    (xrays / "device.png").symlink_to(os.devnull)
    (xrays / "dangling.png").symlink_to(tmp_path / "gone.png")
    (xrays / "loop.png").symlink_to(xrays / "loop.png")
    png(xrays / "folder.png" / "inner.png", 90)
    (xrays / "out.png").symlink_to(png(tmp_path / "elsewhere" / "far.png", 91))
    outcome = run_ingest(tmp_path / "run", config(folder, labels={"min_match": 0.1}))
    assert outcome.summary["reasons"] == {"not_a_file": 4}
    found = rows(tmp_path / "run")
    assert found["pipe"].reason == "not_a_file: a named pipe, expected an X-ray file"
    ok = {key for key, row in found.items() if row.status == "ok"}
    assert ok == {"folder_png/inner", "out", *(f"{n:02}" for n in range(12))}


@pytest.mark.parametrize("name", ["labels.csv", "list.txt", "list.csv"])
def test_a_table_that_is_a_pipe_is_an_error(tmp_path: Path, name: str) -> None:
    folder = two_classes(tmp_path)
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    given = {"labels": {"file": str(folder / name)}} if name == "labels.csv" else {}
    if not given:
        given = {"images": str(folder / name)}
    with pytest.raises(IsnetError, match="a named pipe, expected a"):
        run_ingest(tmp_path / "run", config(folder, **given))


def test_masks_and_configurations_that_are_pipes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "00.png")
    (found,) = find_masks(tmp_path, ["00"])
    with pytest.raises(Exception, match="a named pipe, expected a picture"):
        load_mask(found)
    os.mkfifo(tmp_path / "isnet.yaml")
    with pytest.raises(IsnetError, match="a named pipe, expected a YAML file"):
        load(tmp_path / "isnet.yaml")


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"megapixels": 1}, "too_large: 1100 x 1100 pixels, at most 1 million"),
        ({"seconds": 1e-9}, "too_slow: "),
    ],
)
def test_limits_of_the_configuration_hold_and_count(
    tmp_path: Path, limits: dict[str, float], reason: str
) -> None:
    folder = two_classes(tmp_path)

    noise = np.random.default_rng(0).integers(0, 256, (1100, 1100), np.uint8)
    Image.fromarray(noise).save(folder / "xrays" / "large.png")
    plain = config(folder)
    limited = plain.model_copy(update={"limits": plain.limits.model_copy(update=limits)})
    if "seconds" in limits:
        with pytest.raises(IsnetError):
            run_ingest(tmp_path / "run", limited)
        return
    run_ingest(tmp_path / "run", limited)
    assert rows(tmp_path / "run")["large"].reason.startswith(reason)
    run_ingest(tmp_path / "run", plain)  # another fingerprint: the file is read
    assert rows(tmp_path / "run")["large"].status == "ok"


def test_images_are_read_in_a_process_unless_none_is_wanted(tmp_path: Path) -> None:
    folder = two_classes(tmp_path)
    plain = config(folder)
    machine = plain.machine.model_copy(update={"workers": None})
    run_ingest(tmp_path / "a", plain.model_copy(update={"machine": machine}))
    run_ingest(tmp_path / "b", plain)
    assert rows(tmp_path / "a") == rows(tmp_path / "b")
