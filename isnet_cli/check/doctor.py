"""The body of `isnet doctor`: what this installation and this machine offer."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isnet_cli.core.run_folder import installed_versions
from isnet_cli.errors import explain_error
from isnet_cli.guard.opening import read_bytes

BASE = ("isnet", "python")
LEAST_FREE = 2 * 2**30  # bytes of disk below which a run is likely to fail


@dataclass(frozen=True)
class Examination:
    """Facts about the machine; no user name, no path outside the packages.

    Attributes:
        versions: Of isnet, Python and the packages that results depend on.
        system: Operating system and processor type.
        cores: Processor cores that this process may use.
        memory: Main memory, bytes; None where the system does not tell.
        disk: Free bytes of the working folder's disk; None where that folder is gone.
        devices: Names of the devices that torch can use, the first is what ``auto`` takes.
        codecs: Families of DICOM compression and what reads them.
        weights: Shipped networks: name, version, licence, and whether the file is what the card
            says.
        problems: What has to be mended, one sentence each.
    """

    versions: dict[str, str]
    system: str
    cores: int
    memory: int | None
    disk: int | None
    devices: list[str]
    codecs: dict[str, str]
    weights: list[dict[str, str]]
    problems: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """The facts as JSON-able content."""
        return {**vars(self), "network": "never used"}

    def lines(self) -> Iterator[tuple[str, str]]:
        """The facts as pairs of a title and a line."""
        yield "isnet", self.versions["isnet"]
        yield "python", f"{self.versions['python']} on {self.system}"
        packages = {name: self.versions[name] for name in self.versions if name not in BASE}
        yield "packages", ", ".join(f"{name} {version}" for name, version in packages.items())
        memory = "unknown" if self.memory is None else _format_gib(self.memory)
        disk = "unknown" if self.disk is None else _format_gib(self.disk)
        yield "machine", f"{self.cores} cores, memory {memory}, free disk {disk}"
        for index, device in enumerate(self.devices):
            yield "device", f"{device}{'  (auto)' if index == 0 else ''}"
        for name, reader in self.codecs.items():
            yield "codec", f"{name}: {reader}"
        for card in self.weights:
            yield "weights", f"{card['name']} {card['version']}, {card['licence']}, {card['state']}"
        yield "network", "never used"


def examine_machine() -> Examination:
    """Examines the machine; imports what the stages would import."""
    problems: list[str] = []
    try:
        disk = shutil.disk_usage(Path.cwd()).free
    except OSError as error:
        disk = None
        words = (error.strerror or "no access").lower()
        problems.append(f"the working folder cannot be looked at ({words})")
    if disk is not None and disk < LEAST_FREE:
        problems.append(
            f"only {_format_gib(disk)} of disk free here, expected {_format_gib(LEAST_FREE)}"
        )
    return Examination(
        versions=installed_versions(),
        system=f"{platform.system()} {platform.machine()}",
        cores=_count_cores(),
        memory=_measure_memory(),
        disk=disk,
        devices=_list_devices(problems),
        codecs=_list_codecs(problems),
        weights=_list_weights(problems),
        problems=problems,
    )


def _list_devices(problems: list[str]) -> list[str]:
    try:
        import torch
    except ImportError as error:
        problems.append(f"torch cannot be imported ({explain_error(error)})")
        return []
    found = []
    for index in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(index)
        found.append(f"cuda:{index} {facts.name}, {_format_gib(facts.total_memory)}")
    found.append(f"cpu, {torch.get_num_threads()} threads")
    if torch.backends.mps.is_available():
        found.append("mps")
    return found


def _list_codecs(problems: list[str]) -> dict[str, str]:
    found = {"native, deflated, RLE": "pydicom"}
    try:
        import SimpleITK
    except ImportError:
        problems.append("SimpleITK is missing: JPEG-compressed DICOM cannot be read")
        return found
    if "GDCMImageIO" in SimpleITK.ImageFileReader().GetRegisteredImageIOs():
        found["JPEG, JPEG lossless, JPEG-LS, JPEG 2000"] = "SimpleITK"
    else:
        problems.append("SimpleITK was built without GDCM: JPEG-compressed DICOM cannot be read")
    return found


def _list_weights(problems: list[str]) -> list[dict[str, str]]:
    from isnet_models.registry import find_card, names

    found = []
    for name in names():
        card = find_card(name)
        state = "intact"
        if not card.weights.is_file():
            state = "file missing"
        elif hashlib.sha256(read_bytes(card.weights)).hexdigest() != card.sha256:
            state = "damaged"
        if state != "intact":
            problems.append(f"weights of '{name}': {state}; install isnet again")
        entry = {"version": card.version, "licence": card.licence, "state": state}
        found.append({"name": name, **entry})
    if not found:
        problems.append("no lung U-Net is shipped with this installation")
    return found


def _count_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _measure_memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def _format_gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
