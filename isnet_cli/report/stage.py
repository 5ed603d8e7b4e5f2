"""Stage `report`: the page about a run, made again whenever something that it shows has changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from isnet_cli import __version__
from isnet_cli.config.schema import Config
from isnet_cli.core.files import fingerprint as hash_of
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import REPORT, RunFolder
from isnet_cli.core.stage import StageResult
from isnet_cli.guard.opening import read_text
from isnet_cli.report.results import find_faults
from isnet_cli.report.write import build_report

NAME = REPORT
FORMAT = 1  # raise when the same results give another page
DERIVED = True  # holds nothing of its own: replaced without being asked, leaves isnet.yaml alone
PAGE = "report.html"


def fingerprint(config: Config, folder: RunFolder) -> str:
    """Hash of the records of all stages with the hashes of their files, and of ``isnet.yaml``."""
    yaml = folder.path / "isnet.yaml"
    records: list[Any] = []
    for one in (folder, *([folder.upstream] if folder.upstream else [])):
        record = one.record()
        stages = {name: entry for name, entry in record["stages"].items() if name != NAME}
        records.append([one.path.absolute().name, stages, record.get("versions")])
    text = read_text(yaml) if yaml.is_file() else ""
    return hash_of(NAME, FORMAT, __version__, records, text, find_faults(folder))


def run(config: Config, folder: RunFolder, context: RunContext) -> StageResult:
    """Writes ``report.html``.

    Raises:
        IsnetError: As `build_report`.
    """
    page = build_report([folder], folder.path / PAGE, context)
    return StageResult([page], {})


def locate_page(folder: RunFolder) -> Path:
    """Where the page of a run lies."""
    return folder.path / PAGE
