"""The wheel holds the three packages with their data and nothing else, and works once installed."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import numpy as np
import pytest
import yaml
from packaging.requirements import Requirement
from PIL import Image

import isnet_lrp
import isnet_models
from isnet_cli import __version__
from isnet_cli.phantoms.phantom import make_phantoms
from tests.house.rules import ROOT
from tests.support.wheels import run_unpacked

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PACKAGES = ("isnet_cli", "isnet_models", "isnet_lrp")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from this checkout; hatchling is called as pip would, without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    code = f"from hatchling.build import build_wheel; print(build_wheel({str(folder)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return folder / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def tracked(folder: str) -> set[str]:
    """Files of a folder that git knows, as they are named in the wheel."""
    done = subprocess.run(
        ["git", "ls-files", folder], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.skip("not a git checkout")
    return {line.removeprefix("models/") for line in done.stdout.splitlines()}


def test_everything_that_belongs_to_the_packages_is_in(names: set[str]) -> None:
    assert (
        tracked("isnet_cli") | tracked("models/isnet_models") | tracked("models/isnet_lrp") <= names
    )
    assert {f"{package}/py.typed" for package in PACKAGES} <= names


def test_weights_cards_and_templates_are_in(names: set[str]) -> None:
    for name in (
        "isnet_models/cards/lung-unet.safetensors",
        "isnet_models/cards/lung-unet.json",
        "isnet_models/cards/lung-unet-open.safetensors",
        "isnet_models/cards/lung-unet-open.json",
        "isnet_cli/report/templates/report.html.j2",
    ):
        assert name in names


def test_nothing_else_is_in(names: set[str]) -> None:
    tops = {name.split("/")[0] for name in names}
    assert tops == {*PACKAGES, f"isnet-{__version__}.dist-info", f"isnet-{__version__}.data"}
    assert not [name for name in names if "__pycache__" in name or "conftest" in name]


def test_the_manual_page_is_that_of_the_commands(names: set[str]) -> None:
    spec = importlib.util.spec_from_file_location("man", ROOT / "packaging/man.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = (ROOT / "packaging/isnet.1").read_text(encoding="utf-8")
    assert page == module.make_page(), "make man writes it anew"
    assert f"isnet-{__version__}.data/data/share/man/man1/isnet.1" in names
    assert r".SS isnet masks train [OPTIONS] {CONFIG}" in page
    assert r"\fB\-\-threshold P\fR" in page
    if groff := shutil.which("groff"):
        done = subprocess.run(
            [groff, "-man", "-ww", "-Tutf8", ROOT / "packaging/isnet.1"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stderr == ""
        assert "Lung where the U-Net says at least P" in " ".join(done.stdout.split())


def test_the_dockerfile_passes_its_linter() -> None:
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which(
        "hadolint"
    )
    if linter is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run(
        [linter, ROOT / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_version_licence_and_command(wheel: Path) -> None:
    folder = f"isnet-{__version__}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        facts = Parser().parsestr(archive.read(f"{folder}/METADATA").decode())
        commands = archive.read(f"{folder}/entry_points.txt").decode()
        assert "Apache License" in archive.read(f"{folder}/licenses/LICENSE").decode()
        assert "CC BY-NC-SA" in archive.read(f"{folder}/licenses/models/README.md").decode()
    assert facts["Version"] == __version__
    assert facts["Requires-Python"] == ">=3.11"
    assert facts["License-Expression"] == "Apache-2.0 AND CC-BY-4.0 AND CC-BY-NC-SA-4.0"
    assert "isnet = isnet_cli.cli.app:main" in commands


def test_the_three_packages_have_one_version() -> None:
    assert isnet_lrp.__version__ == isnet_models.__version__ == __version__
    assert "version" not in PROJECT  # it is read from isnet_cli


@pytest.mark.slow
def test_the_wheel_works_beside_foreign_models_and_tests(wheel: Path, tmp_path: Path) -> None:
    """Unpacked as pip does it, run in a folder that has packages of the same names as ours."""
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.namelist():
            archive.extract(entry, site)
    here = tmp_path / "here"
    for name in ("models", "tests"):
        (here / name).mkdir(parents=True)
        (here / name / "__init__.py").write_text("raise ImportError('foreign')", encoding="utf-8")
    code = (
        "from isnet_cli.cli.app import main\n"
        "import isnet_cli, isnet_lrp, isnet_models.registry as registry\n"
        f"assert isnet_cli.__file__.startswith({str(site)!r})\n"
        f"assert isnet_lrp.__file__.startswith({str(site)!r})\n"
        f"assert registry.__file__.startswith({str(site)!r})\n"
        "from isnet_cli.check.doctor import examine_machine\n"
        "found = examine_machine().problems\n"
        "assert found == [], found\n"
        "sys.exit(main(['--version']))\n"
    )
    done = run_unpacked(site, code, here)
    assert done.stderr == ""
    assert done.stdout == f"isnet {__version__}\n"
    assert done.returncode == 0


@pytest.mark.slow
def test_the_wheel_without_the_non_commercial_network_masks_with_the_other(
    tmp_path: Path, names: set[str]
) -> None:
    command = [sys.executable, ROOT / "packaging/open_wheel.py", tmp_path]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    left_out = {f"isnet_models/cards/lung-unet.{ending}" for ending in ("json", "safetensors")}
    with zipfile.ZipFile(done.stdout.strip()) as archive:
        assert set(archive.namelist()) == names - left_out
        for entry in archive.namelist():
            archive.extract(entry, tmp_path / "site")
    metadata = tmp_path / f"site/isnet-{__version__}.dist-info/METADATA"
    facts = Parser().parsestr(metadata.read_text(encoding="utf-8"))
    assert facts["License-Expression"] == "Apache-2.0 AND CC-BY-4.0"
    write_phantoms(tmp_path / "films", 2)
    code = (
        "from isnet_cli.cli.app import main\n"
        "from isnet_cli.check.doctor import examine_machine\n"
        "assert examine_machine().problems == []\n"
        "sys.exit(main(['masks', 'films', '-o', 'run']))\n"
    )
    done = run_unpacked(tmp_path / "site", code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "lung-unet is not part of this installation: lung-unet-open is used" in done.stderr
    lines = (tmp_path / "run/masks/qc.csv").read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[1] for line in lines] == ["origin", *["lung-unet-open"] * 2]


def write_phantoms(folder: Path, count: int) -> None:
    """X-rays of phantoms as pictures."""
    folder.mkdir()
    for phantom in make_phantoms(count, seed=4, size=256):
        pixels = np.rint(phantom.pixels * 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{phantom.patient}.png")


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source distribution built from this checkout, without a network."""
    folder = tmp_path_factory.mktemp("sdist")
    code = f"from hatchling.build import build_sdist; print(build_sdist({str(folder)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return folder / done.stdout.split()[-1]


def test_the_source_distribution_has_all_that_its_tests_need(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        found = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"pyproject.toml", "Makefile", "constraints.txt", "Dockerfile", "recipe/meta.yaml"}
    wanted |= {"tests/house/rules.py", "docs/cli.md", "sample_configs", "isnet_cli/cli/app.py"}
    assert {w for w in wanted if not any(n == w or n.startswith(f"{w}/") for n in found)} == set()
    assert not [name for name in found if "__pycache__" in name or name.startswith("runs/")]


CONDA = {"torch": "pytorch", "matplotlib": "matplotlib-base"}  # other names there


def test_the_conda_recipe_has_the_same_requirements_and_version() -> None:
    text = (ROOT / "recipe/meta.yaml").read_text(encoding="utf-8")
    head, _, rest = text.partition("%}\n")
    assert f'"{__version__}"' in head
    plain = rest.replace("{{ version }}", __version__).replace("{{ PYTHON }}", "python")
    recipe = yaml.safe_load(plain)
    wanted = [Requirement(entry) for entry in PROJECT["dependencies"]]
    expected = {f"{CONDA.get(r.name, r.name.lower())} {r.specifier}" for r in wanted}
    assert set(recipe["requirements"]["run"]) == {"python >=3.11", *expected}
    assert recipe["build"]["entry_points"] == [f"isnet = {PROJECT['scripts']['isnet']}"]
    assert recipe["about"]["license"] == PROJECT["license"]
    for name in recipe["about"]["license_file"]:
        assert (ROOT / name).is_file()


def test_all_is_every_extra_but_those_of_developers() -> None:
    extras = PROJECT["optional-dependencies"]
    (everything,) = [Requirement(entry) for entry in extras["all"]]
    assert everything.name == "isnet"
    assert set(everything.extras) == set(extras) - {"all", "dev"}


def test_dependencies_are_not_pinned_to_one_version() -> None:
    for entry in PROJECT["dependencies"]:
        assert "==" not in entry
        assert "<" not in entry
