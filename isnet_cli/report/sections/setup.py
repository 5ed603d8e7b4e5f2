"""Setup: configuration, versions and hashes, so that a run can be identified and repeated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from isnet_cli.report.blocks import Block, Code, Fold, Notice, Section, Table, Text
from isnet_cli.report.results import RunResults

_LISTED = 12  # files of one stage whose hashes are listed


def build_configuration_section(runs: Sequence[RunResults]) -> Section:
    """The resolved configuration of each run, and the settings in which the runs differ."""
    blocks: list[Block] = [
        Text(
            "All settings, defaults included. Folders of the machine are shortened to their last "
            "name; the run folder's own isnet.yaml has them in full."
        )
    ]
    if len(runs) > 1:
        blocks.append(_compare_settings(runs))
    for run in runs:
        if run.settings_text:
            blocks.append(Code(run.settings_text, f"Configuration of {run.name}"))
        else:
            blocks.append(Notice(f"No configuration was recorded for {run.name}.", "empty"))
    return Section("configuration", "Configuration", blocks, ("isnet.yaml",))


def build_versions_section(runs: Sequence[RunResults]) -> Section:
    """Versions of the software, times of the stages, SHA-256 of the main files."""
    blocks: list[Block] = []
    names = list(dict.fromkeys(name for run in runs for name in run.record.get("versions", {})))
    if names:
        rows = [
            (name, *(str(run.record.get("versions", {}).get(name, "n/a")) for run in runs))
            for name in names
        ]
        blocks.append(Table(("software", *(run.name for run in runs)), rows))
    stages = [row for run in runs for row in _list_stages(run)]
    if stages:
        columns = ("run", "stage", "state", "started", "finished", "fingerprint")
        blocks.append(Table(columns, stages, "Stages (times in UTC)", numbers_from=9))
    hashes = [row for run in runs for row in _list_hashes(run)]
    if hashes:
        table = Table(("run", "file", "SHA-256"), hashes, numbers_from=9)
        blocks.append(Fold("SHA-256 of the main files", table))
    blocks += _list_read_files(runs)
    if not blocks:
        blocks.append(Notice("No stage has been recorded.", "empty"))
    return Section("versions", "Versions and hashes", blocks, ("run.json",))


def _list_read_files(runs: Sequence[RunResults]) -> list[Block]:
    """The files that the page was made from, and whether they are those that the stages wrote."""
    rows, changed = [], []
    for run in runs:
        for file in run.files:
            same = file.recorded == file.sha256
            state = ("same" if same else "differs") if file.recorded else "not recorded"
            rows.append((run.name, file.name, state, file.sha256))
            changed += [] if same or not file.recorded else [f"{file.name} of {run.name}"]
    if not rows:
        return []
    columns = ("run", "file", "as recorded in run.json", "SHA-256")
    notes = ["Pictures of images and maps, and isnet.yaml, are not hashed here."]
    table = Table(columns, rows, numbers_from=9, notes=notes)
    blocks: list[Block] = [Fold("Files that the figures of this page were read from", table)]
    if changed:
        words = f"Changed after the stage that wrote them: {', '.join(changed)}."
        blocks.insert(0, Notice(words, "warning"))
    return blocks


def _compare_settings(runs: Sequence[RunResults]) -> Block:
    flat = [dict(_iterate_settings(run.settings)) for run in runs]
    keys = dict.fromkeys(key for settings in flat for key in settings)
    rows = [
        (key, *(_format_setting(settings.get(key)) for settings in flat))
        for key in keys
        if len({_format_setting(settings.get(key)) for settings in flat}) > 1
    ]
    if not rows:
        return Text("The runs have the same settings.")
    columns = ("setting", *(run.name for run in runs))
    return Table(columns, rows, "Settings in which the runs differ", numbers_from=9)


def _iterate_settings(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from _iterate_settings(value, f"{name}.")
        else:
            yield name, value


def _format_setting(value: Any) -> str:
    return "none" if value is None else str(value)


def _list_stages(run: RunResults) -> Iterator[tuple[str, ...]]:
    for stage, entry in run.record.get("stages", {}).items():
        times = [str(entry.get(k, "n/a")).replace("+00:00", "") for k in ("started", "finished")]
        if entry.get("status") != "done":
            times[1] = "n/a"
        fingerprint = str(entry.get("fingerprint", ""))[:12]
        yield run.name, stage, str(entry.get("status", "")), *times, fingerprint


def _list_hashes(run: RunResults) -> Iterator[tuple[str, str, str]]:
    for stage, entry in run.record.get("stages", {}).items():
        outputs = entry.get("outputs", {})
        for name in sorted(outputs, key=lambda n: (n.count("/"), n))[:_LISTED]:
            yield run.name, f"{stage}/{name}", str(outputs[name])
        if len(outputs) > _LISTED:
            yield run.name, f"{stage}: {len(outputs) - _LISTED} more files", "in run.json"
