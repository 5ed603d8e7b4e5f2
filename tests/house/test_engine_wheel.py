"""The relevance engine's own wheel: its files alone, torch alone, its own licence and page."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import isnet_lrp
from tests.house.rules import ROOT
from tests.house.test_packaging import tracked
from tests.support.wheels import run_unpacked

FOLDER = ROOT / "packaging" / "isnet_lrp"


def build(kind: str, source: Path, folder: Path) -> Path:
    """A wheel or an sdist, as `python -m build` makes it, without a network."""
    code = f"from hatchling.build import build_{kind}; print(build_{kind}({str(folder)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder / done.stdout.split()[-1]


def read_files(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", FOLDER, tmp_path_factory.mktemp("wheel"))


def test_it_holds_the_engine_and_nothing_else(wheel: Path) -> None:
    names = {name for name in read_files(wheel) if ".dist-info/" not in name}
    assert names == tracked("models/isnet_lrp")


def test_it_needs_torch_alone_and_has_its_own_page(wheel: Path) -> None:
    folder = f"isnet_lrp-{isnet_lrp.__version__}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        facts = Parser().parsestr(archive.read(f"{folder}/METADATA").decode())
        assert "Apache License" in archive.read(f"{folder}/licenses/LICENSE").decode()
    assert facts["Name"] == "isnet-lrp"
    assert facts.get_all("Requires-Dist") == ["torch>=2.6"]
    assert facts["License-Expression"] == "Apache-2.0"
    assert "## Train through maps" in str(facts.get_payload())


def test_unpacked_it_explains_a_network_by_itself(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)  # noqa: S202 - our own
    code = (
        "import torch, isnet_lrp\n"
        f"assert isnet_lrp.__file__.startswith({str(tmp_path)!r})\n"
        "net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))\n"
        "print(tuple(isnet_lrp.relevance(net, torch.rand(1, 1, 2, 2)).maps.shape))\n"
        "assert 'isnet_models' not in sys.modules and 'isnet_cli' not in sys.modules\n"
    )
    done = run_unpacked(tmp_path, code, tmp_path)
    assert (done.returncode, done.stdout) == (0, "(1, 1, 1, 2, 2)\n"), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("source", [FOLDER, ROOT], ids=["isnet-lrp", "isnet"])
def test_a_wheel_of_the_source_distribution_is_that_of_the_repository(
    source: Path, tmp_path: Path
) -> None:
    with tarfile.open(build("sdist", source, tmp_path)) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    (tmp_path / "own").mkdir()
    own = build("wheel", source, tmp_path / "own")
    assert read_files(build("wheel", unpacked, tmp_path)) == read_files(own)
