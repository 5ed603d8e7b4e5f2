"""The common body of the verbs that bring stages of a run up to date."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isnet_cli.cli.options import RunOptions
from isnet_cli.cli.session import Result, Session
from isnet_cli.cli.source import (
    Source,
    check_output,
    check_output_apart,
    choose_output,
    make_machine_options,
)
from isnet_cli.cli.terminal.summaries import (
    format_background,
    format_outcome,
    format_predictions,
    format_scores,
    format_shifts,
)
from isnet_cli.core.parallel.processes import are_several
from isnet_cli.core.parallel.shares import Share, read_share
from isnet_cli.errors import EXIT_SKIPPED, IsnetError
from isnet_cli.text.forms import for_line

if TYPE_CHECKING:
    from isnet_cli.config.load import Option
    from isnet_cli.config.schema import Config
    from isnet_cli.core.pipeline import Outcome
    from isnet_cli.core.run_folder import RunFolder

PLANS = {
    "current": "up to date, nothing to do",
    "new": "would run",
    "continue": "would continue",
    "outdated": "was finished with other settings or inputs; needs --overwrite",
    "depends": "would run again if its inputs change, which needs --overwrite",
}


def run_stages(
    session: Session,
    options: RunOptions,
    source: Source,
    stages: Sequence[str],
    extra: Sequence[Option] = (),
    *,
    report: bool = False,
    more: Sequence[Path] = (),
    shard: str | None = None,
) -> Result:
    """Loads the configuration, opens the run, and brings `stages` up to date.

    Args:
        session: The command.
        options: Shared options as typed.
        source: Configuration, images or run that were named.
        stages: Names, in order.
        extra: Further keys of the configuration that were typed.
        report: Write ``report.html`` once every stage is done.
        more: Folders of input files that the configuration does not name.
        shard: Which share of the last of `stages` to do alone, as it was typed; None: everything.

    Raises:
        IsnetError: For everything that the user can mend.
    """
    from isnet_cli.config.load import load
    from isnet_cli.core.pipeline import open_run
    from isnet_cli.core.run_folder import REPORT

    if shard is not None:
        session.share = _read_shard(shard, options, source)
    session.join()
    config = load(source.config, options.overrides, [*extra, *make_machine_options(options)])
    if isinstance(source.images, tuple) and config.data.privacy.rename:
        raise IsnetError(
            "usage",
            "several files with data.privacy.rename: their names would stand in isnet.yaml",
            fix="write them into a .txt file, one a line, and give that one",
        )
    session.hide_names(config, more=more)
    output = _find_output(session, options, source, config)
    if options.dry_run:
        return _plan(config, output, stages)
    if options.restart and session.processes.leads:
        _move_aside(output, session)
    if config.track:
        from isnet_cli.track.follow import require_trackers

        require_trackers(config)
    session.processes.wait()
    folder = open_run(output, config)
    if not session.share.whole:
        return _do_share(session, options, config, folder, stages[-1])
    outcomes = _run(session, options, config, folder, [*stages, *([REPORT] if report else [])])
    shown = [one for one in outcomes if one.stage != REPORT or one.status == "incomplete"]
    result = _result(session, output, shown)
    return _with_report(folder, outcomes, result) if report else result


def _find_output(session: Session, options: RunOptions, source: Source, config: Config) -> Path:
    """The run folder, the same for all processes of the command, which must have one task.

    Raises:
        IsnetError: As `check_output` and `refuse_differences`.
    """
    if not session.processes.leads:
        output = Path(session.processes.broadcast(None))
    else:
        output = options.output or source.run or choose_output(config, typed=source.typed)
        check_output(output)
        check_output_apart(config, output)
        session.processes.broadcast(str(output))
    if session.processes.count > 1:
        from isnet_cli.config.load import dump
        from isnet_cli.core.files import fingerprint
        from isnet_cli.core.parallel.processes import refuse_differences
        from isnet_cli.core.run_folder import installed_versions

        versions = {f"version of {name}": text for name, text in installed_versions().items()}
        same = {"the configuration": fingerprint(dump(config)), **versions}
        refuse_differences(session.processes, same)
    return output


def _read_shard(text: str, options: RunOptions, source: Source) -> Share:
    """The share that was typed; all commands have to name one run.

    Raises:
        IsnetError: Kind "usage".
    """
    share = read_share(text)
    if are_several():
        raise IsnetError(
            "usage", "--shard with torchrun, expected one of both", fix="torchrun shares by itself"
        )
    if options.output is None and source.run is None:
        raise IsnetError(
            "usage",
            "--shard without a run folder, expected the same one for every shard",
            fix="-o DIR, or the run folder in place of the configuration",
        )
    if options.restart:
        raise IsnetError(
            "usage", "--restart with --shard: other shards may be at work", fix="--overwrite"
        )
    return share


def _do_share(
    session: Session, options: RunOptions, config: Config, folder: RunFolder, stage: str
) -> Result:
    from isnet_cli.core.events import EventLog
    from isnet_cli.core.pipeline import run_share

    session.folder, session.event = folder.path, EventLog(folder.path)
    outcome = run_share(stage, config, folder, session.context(), replace=options.overwrite)
    if outcome.status == "share":
        session.console.say(f"when all {session.share.count} are done:  isnet merge {folder.path}")
    lines = [str(folder.path), f"  {stage}  shard {session.share.name}: {outcome.status}"]
    entry = {"stage": stage, "status": outcome.status, "summary": outcome.summary}
    code = session.stop_code if outcome.status == "incomplete" else 0
    document = {"run": str(folder.path), "status": outcome.status, "stages": [entry]}
    return Result(document, "\n".join(lines), code)


def _run(
    session: Session,
    options: RunOptions,
    config: Config,
    folder: RunFolder,
    stages: Sequence[str],
) -> list[Outcome]:
    from isnet_cli.core.events import EventLog
    from isnet_cli.core.pipeline import run_pipeline

    output = folder.path
    session.folder = output
    if session.processes.leads:
        session.event = EventLog(output)
    session.console.say(f"run folder: {output}")

    def after(outcome: Outcome) -> None:
        session.console.detail(format_outcome(outcome))
        skipped = outcome.summary.get("skipped", 0)
        if options.strict and skipped:
            raise _skipped(outcome.stage, skipped, folder)

    with _tracked(session, config, output):
        return run_pipeline(
            config, folder, session.context(), stages, replace=options.overwrite, after=after
        )


@contextlib.contextmanager
def _tracked(session: Session, config: Config, run: Path) -> Iterator[None]:
    """Lets the trackers of the configuration hear what the run's log hears."""
    if not config.track or not session.processes.leads:
        yield
        return
    from isnet_cli.track.follow import Followers

    followers = Followers(config, run, session.context().warn)
    log = session.event

    def event(name: str, **fields: Any) -> None:
        log(name, **fields)
        followers.hear(name, fields)

    session.event = event
    try:
        yield
    finally:
        session.event = log
        followers.close()


def _with_report(folder: RunFolder, outcomes: Sequence[Outcome], result: Result) -> Result:
    if any(outcome.status == "incomplete" for outcome in outcomes):
        return result
    path = folder.path / "report.html"
    document = {**result.document, "report": str(path)}
    return Result(document, f"{result.text}\n  report    {path}", result.code)


def _result(session: Session, output: Path, outcomes: Sequence[Outcome]) -> Result:
    incomplete = any(outcome.status == "incomplete" for outcome in outcomes)
    doubted = any(outcome.stage == "predict" for outcome in outcomes)
    counted = [o for o in outcomes if not (doubted and o.stage == "masks")]  # no mask: a doubt
    skipped = sum(int(outcome.summary.get("skipped", 0)) for outcome in counted)
    several = session.processes.count > 1  # torchrun takes every code but 0 for a failure
    code = session.stop_code if incomplete else EXIT_SKIPPED if skipped and not several else 0
    lines = [for_line(str(output)), *(f"  {format_outcome(outcome)}" for outcome in outcomes)]
    for outcome in outcomes:
        if outcome.stage == "evaluate":
            lines += ["", *(f"  {line}" for line in format_scores(outcome.summary)), ""]
            for more in (format_shifts(outcome.summary), format_background(outcome.summary)):
                lines += [*(f"  {line}" for line in more), ""] if more else []
        if outcome.stage == "predict" and outcome.status != "incomplete":
            lines += ["", *(f"  {line}" for line in format_predictions(outcome.summary)), ""]
    if incomplete:
        session.console.say(
            "stopped in good order; to continue:", f"  {format_resume_command(output)}"
        )
    elif skipped:
        session.console.say(f"{skipped} inputs were skipped, see {output / 'ingest/skipped.csv'}")
    stages = [
        {"stage": outcome.stage, "status": outcome.status, "summary": outcome.summary}
        for outcome in outcomes
    ]
    status = "incomplete" if incomplete else "done"
    document: dict[str, Any] = {"run": str(output), "status": status, "stages": stages}
    return Result(document, "\n".join(lines), code)


def _plan(config: Config, output: Path, stages: Sequence[str]) -> Result:
    from isnet_cli.core.pipeline import open_run, plan

    plans = plan(config, open_run(output, config), stages)
    width = max(len(name) for name in plans)
    lines = [f"{output} (dry run, nothing is written)"]
    lines += [f"  {name:<{width}}  {PLANS[state]}" for name, state in plans.items()]
    return Result({"run": str(output), "status": "planned", "plan": plans}, "\n".join(lines))


def _move_aside(output: Path, session: Session) -> None:
    from isnet_cli.core.run_folder import RunFolder

    if not output.exists():
        return
    number = 1
    while (aside := output.with_name(f"{output.name}.old-{number}")).exists():
        number += 1
    with RunFolder(output).lock():  # refuses while another process works there
        pass
    output.rename(aside)
    session.console.say(f"the old run is now {aside}")


def _skipped(stage: str, count: int, folder: RunFolder) -> IsnetError:
    table = folder.stage_dir(stage) / "skipped.csv"
    return IsnetError(
        "data",
        f"{stage}: {count} inputs were skipped, and --strict allows none",
        fix=f"see {table}, mend or remove these files" if table.exists() else "mend these inputs",
    )


def format_resume_command(output: Path, arguments: Sequence[str] | None = None) -> str:
    """The command that continues: the same one, with its run folder spelled out."""
    words = [word for word in (arguments or sys.argv[1:]) if word not in {"--restart"}]
    named = any(word in {"-o", "--output"} or word.startswith("--output=") for word in words)
    return shlex.join(["isnet", *words, *([] if named else ["-o", str(output)])])
