"""The surface of the command: verbs, options, exit codes, and what `--help` does not import."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import typer

from isnet_cli import __version__
from isnet_cli.cli.app import app
from isnet_cli.errors import (
    EXIT_BUG,
    EXIT_CODES,
    EXIT_INTERRUPTED,
    EXIT_SKIPPED,
    EXIT_TERMINATED,
)
from tests.cli.factory import isnet

HEAVY = {
    *("torch", "torchvision", "segmentation_models_pytorch", "SimpleITK", "sklearn", "matplotlib"),
    *("pydicom", "numpy", "PIL", "scipy", "pydantic", "yaml", "rich", "jinja2", "filelock"),
}
SCREEN = {"--json", "--quiet", "--verbose", "--no-progress", "--help"}
CONFIG = SCREEN | {"--config", "--set"}
RUN = CONFIG | {
    *("--output", "--device", "--workers", "--seed", "--deterministic", "--no-deterministic"),
    *("--restart", "--resume", "--overwrite", "--strict", "--dry-run"),
}
SURFACE = {  # removing an option with_options one version with a warning; new knobs go to the YAML
    "init": SCREEN | {"DIR", "--labels", "--dataset", "--output"},
    "check": CONFIG | {"SOURCE", "--labels", "--schema", "--resolved", "--limit"},
    "ingest": RUN | {"SOURCE", "--labels", "--shard"},
    "masks": RUN
    | {"SOURCE", "--labels", "--files", "--model", "--threshold", "--keep", "--dilate", "--flip"}
    | {"--no-flip", "--format", "--identity", "--truth", "--qc-fail-above", "--shard"},
    "masks train": SCREEN
    | {"CONFIG", "--set", "--output", "--device", "--epochs", "--seed", "--overwrite"}
    | {"--stop-after"},
    "train": RUN
    | {"SOURCE", "--images", "--labels", "--masks", "--arch", "--method", "--epochs"}
    | {"--batch-size", "--lr", "--heatmap-weight", "--list-methods", "--stop-after"},
    "evaluate": RUN | {"SOURCE", "--model", "--test", "--labels", "--annotations"},
    "predict": RUN | {"SOURCE", "--model", "--maps", "--shard"},
    "heatmap": RUN
    | {"SOURCE", "--model", "--target", "--limit", "--method", "--format", "--identity"}
    | {"--check", "--shard"},
    "merge": RUN | {"RUN"},
    "export": SCREEN | {"RUN", "--onnx", "--heatmap", "--lung-unet", "--overwrite"},
    "card": SCREEN | {"RUN", "--format", "--output", "--link", "--overwrite"},
    "run": RUN | {"SOURCE", "--labels", "--until", "--stop-after"},
    "report": SCREEN | {"RUN...", "--output"},
    "compare": SCREEN | {"RUN...", "--output", "--overwrite"},
    "ls": SCREEN | {"RUN..."},
    "show": SCREEN | {"RUN"},
    "diff": SCREEN | {"RUN"},
    "clean": SCREEN | {"RUN", "--yes"},
    "benchmark": SCREEN
    | {"CONFIG", "--output", "--jobs", "--set", "--device", "--overwrite", "--dry-run"}
    | {"--stop-after"},
    "doctor": SCREEN,
    "demo": SCREEN | {"--output", "--seed"},
}
SHORT = {"-c", "-d", "-h", "-j", "-o", "-q", "-v"}


def commands() -> dict[str, Any]:
    group: Any = typer.main.get_command(app)
    return dict(group.commands)


def names(command: Any) -> set[str]:
    """Long options, and arguments by their metavariable."""
    context = type(command).context_class(command, info_name="x")
    found = {"--help"}
    for parameter in command.get_params(context):
        if parameter.param_type_name == "argument":
            found.add(parameter.metavar)
        else:
            options = [*parameter.opts, *parameter.secondary_opts]
            found |= {option for option in options if option.startswith("--")}
    return found


def test_the_verbs_are_these_in_this_order() -> None:
    assert list(commands()) == list(SURFACE)


@pytest.mark.parametrize("verb", SURFACE)
def test_the_options_are_these(verb: str) -> None:
    assert names(commands()[verb]) == SURFACE[verb]


def test_few_letters_are_short_options() -> None:
    found = {
        option
        for command in commands().values()
        for parameter in command.params
        for option in parameter.opts
        if option.startswith("-") and not option.startswith("--")
    }
    assert found | {"-h"} == SHORT


def test_every_option_explains_itself() -> None:
    silent = [
        (verb, parameter.name)
        for verb, command in commands().items()
        for parameter in command.params
        if parameter.param_type_name == "option" and not parameter.help
    ]
    assert silent == []


def test_exit_codes_are_these_and_in_the_help() -> None:
    assert EXIT_CODES == {"usage": 2, "config": 3, "data": 4, "weights": 5, "machine": 6}
    codes = {EXIT_BUG, EXIT_SKIPPED, EXIT_INTERRUPTED, EXIT_TERMINATED, *EXIT_CODES.values()}
    assert codes == {1, 2, 3, 4, 5, 6, 7, 130, 143}
    text = isnet("--help").out.partition("Exit codes:")[2]
    assert codes | {0} <= {
        int(word.strip(",")) for word in text.split() if word.strip(",").isdigit()
    }


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)])
def test_help_lists_every_verb_in_one_uncut_line(words: tuple[str, ...]) -> None:
    done = isnet(*words)
    assert (done.code, done.err) == (0, "")
    assert "..." not in done.out.partition("Commands:")[2]
    for verb in SURFACE:
        assert f"\n  {verb} " in done.out


@pytest.mark.parametrize("verb", SURFACE)
def test_help_of_each_verb(verb: str) -> None:
    done = isnet(verb, "--help")
    assert done.code == 0
    assert done.out.startswith(f"Usage: isnet {verb} ")


def test_version() -> None:
    assert isnet("--version").out == f"isnet {__version__}\n"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("frobnicate",), "No such command 'frobnicate'"),
        (("train", "--epoch", "3"), "--epoch"),
        (("train", "--epochs", "three"), "--epochs"),
        (("train", "--seed", "-1"), "--seed"),
        (("report",), "Missing argument 'RUN...'"),
        (("demo", "extra"), "extra"),
    ],
)
def test_a_wrong_command_line_is_code_2_with_a_way_out(words: tuple[str, ...], text: str) -> None:
    done = isnet(*words)
    assert done.code == 2
    assert done.out == ""
    assert done.err.startswith("error[usage]: ")
    assert text in done.err
    assert "--help lists what there is" in done.err


def loaded_modules(code: str, environment: dict[str, str]) -> set[str]:
    """Top-level modules that a fresh process has imported after `code`."""
    script = f"import sys\n{code}\nprint('MODULES', *{{m.split('.')[0] for m in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    return set(done.stdout.rpartition("MODULES")[2].split())


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["--version"], ["nonsense"]])
def test_nothing_heavy_is_imported_for_help(
    words: list[str], child_environment: dict[str, str]
) -> None:
    code = f"from isnet_cli.cli.app import main\nmain({words})"
    found = loaded_modules(code, child_environment) & HEAVY
    if words[0] in {"train", "nonsense"}:
        found -= {"pydantic"}  # some versions of typer parse words with it
    assert not found


def test_the_test_on_heavy_modules_can_fail(child_environment: dict[str, str]) -> None:
    assert loaded_modules("import numpy", child_environment) & HEAVY == {"numpy"}


def test_a_reader_that_goes_away_is_no_error(child_environment: dict[str, str]) -> None:
    command = f"{sys.executable} -u -m isnet_cli.cli.app --help | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], env=child_environment, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.returncode == 0
