"""Makefile, CI script and Dockerfile: what can be tested without a container engine."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.house.rules import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
INSTRUCTIONS = {
    *("FROM", "WORKDIR", "COPY", "RUN", "ARG", "ENV", "USER", "ENTRYPOINT", "CMD"),
}


def steps() -> list[tuple[str, str]]:
    """Instructions of the Dockerfile with continued lines joined."""
    text = re.sub(r"\\\n\s*", " ", DOCKERFILE)
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines]


def test_the_dockerfile_holds_known_instructions() -> None:
    assert {name for name, _ in steps()} == INSTRUCTIONS


def test_two_stages_on_a_slim_python_that_the_project_supports() -> None:
    images = [rest for name, rest in steps() if name == "FROM"]
    assert images == ["python:3.12-slim AS build", "python:3.12-slim"]
    assert "Programming Language :: Python :: 3.12" in PROJECT["project"]["classifiers"]


def test_what_is_copied_exists_and_is_let_into_the_build() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert ignored[0] == "*"
    for name, rest in steps():
        if name == "COPY" and "--from" not in rest:
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert f"!{source}" in ignored


def test_everything_the_wheel_needs_is_copied() -> None:
    copied = {s for name, rest in steps() if name == "COPY" for s in rest.split()[:-1]}
    packages = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    needed = {package.split("/")[0] for package in packages}
    project = PROJECT["project"]
    needed |= {"pyproject.toml", project["readme"], *project["license-files"]}
    assert [path for path in needed if not {path, path.split("/")[0]} & copied] == []


def test_the_last_stage_is_not_root_and_runs_the_command() -> None:
    names = [name for name, _ in steps()]
    order = {name: index for index, name in enumerate(names)}
    found = dict(steps())
    assert found["USER"] == "10001"  # a number, which hosts need not resolve
    assert "useradd --create-home --uid 10001" in " ".join(
        rest for name, rest in steps() if name == "RUN"
    )
    assert found["ENTRYPOINT"] == '["isnet"]'
    assert "isnet" in PROJECT["project"]["scripts"]
    assert order["USER"] < order["ENTRYPOINT"]
    after = [rest for name, rest in steps()[order["USER"] :] if name == "RUN"]
    assert after == []


def test_nothing_is_fetched_but_by_pip() -> None:
    runs = " ".join(rest for name, rest in steps() if name == "RUN")
    assert not re.search(r"curl|wget|git clone|apt-get|https?:", runs)
    assert "ADD" not in {name for name, _ in steps()}


def test_the_steps_are_shell() -> None:
    for name, rest in steps():
        if name == "RUN":
            subprocess.run(["sh", "-n", "-c", rest], check=True)
            assert shlex.split(rest)


def test_the_ci_script_is_bash_and_may_run() -> None:
    script = ROOT / ".ci/run"
    subprocess.run(["bash", "-n", script], check=True)
    assert os.access(script, os.X_OK)


def test_hooks_run_the_tools_of_lint_and_fetch_nothing() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    (repository,) = yaml.safe_load(text)["repos"]
    assert repository["repo"] == "local"
    assert [hook["entry"].split(" --")[0] for hook in repository["hooks"]] == [
        "ruff check", "ruff format", "mypy",
    ]  # fmt: skip
    assert {hook["language"] for hook in repository["hooks"]} == {"system"}


def test_the_citation_names_the_software_and_both_papers() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    assert " AND ".join(cited["license"]) == PROJECT["project"]["license"]
    assert [paper["doi"] for paper in cited["references"]] == [
        "10.1038/s41467-023-44371-z", "10.1109/ACCESS.2024.3461773",
    ]  # fmt: skip


def test_contributing_names_files_and_targets_that_exist() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = re.findall(r"`((?:isnet_cli|models|tests)/[\w./]*)`", page)
    assert len(paths) > 10
    assert [path for path in paths if not (ROOT / path).exists()] == []
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    used = {word for row in re.findall(r"make ((?:[a-z-]+ ?)+)`", page) for word in row.split()}
    assert used <= targets


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The build files alone, and a `pip` and a `pytest` that only note how they were called."""
    if shutil.which("make") is None:
        pytest.skip("no make")
    for name in ("Makefile", "pyproject.toml", "constraints.txt", ".ci/run"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy2(ROOT / name, tmp_path / name)
    python = tmp_path / "python"
    python.write_text(
        "#!/bin/sh\n"
        f'case "$*" in "-c "*) exec {sys.executable} "$@";; esac\n'
        f'echo "$@" >> {tmp_path}/calls\n'
        'if [ "$1 $2" = "-m venv" ]; then for last; do :; done; mkdir -p "$last/bin"\n'
        '  for tool in python ruff mypy isnet; do cp "$0" "$last/bin/$tool"; done; fi\n'
        'case "$*" in "-m pytest"*) echo "$ISNET_TEST_PROFILE" >> profiles;; esac\n'
        'if [ -n "$FAIL" ]; then case "$*" in *"$FAIL"*) exit 1;; esac; fi\n',
        encoding="utf-8",
    )
    python.chmod(0o755)
    return tmp_path


FAST = "-m pytest -m not slow and not exhaustive and not trust"
SLOW = "-m pytest -m (slow or hypothesis) and not exhaustive and not trust"


def make(checkout: Path, *words: str, **environment: str) -> tuple[int, list[str], str]:
    """Runs a command in the checkout; exit code, calls, messages."""
    (checkout / "calls").write_text("", encoding="utf-8")
    done = subprocess.run(
        words, cwd=checkout, capture_output=True, text=True, check=False,
        env={"PATH": os.environ["PATH"], "FAIL": "", "PYTHON": str(checkout / "python"),
             "HOME": str(checkout / "home"), **environment},
    )  # fmt: skip
    calls = (checkout / "calls").read_text(encoding="utf-8").splitlines()
    return done.returncode, calls, done.stderr


def test_make_sets_itself_up_once(checkout: Path) -> None:
    code, calls, _ = make(checkout, "make", "test")
    assert code == 0
    assert calls[0] == "-m venv .venv"
    assert calls[1] == "-m pip install --quiet --constraint constraints.txt --editable .[dev]"
    assert calls[2] == FAST
    assert make(checkout, "make", "test")[1] == [FAST]
    assert make(checkout, "make", "test-slow")[1] == [SLOW]
    assert make(checkout, "make", "test-all")[1] == [FAST, SLOW]
    assert make(checkout, "make", "test-networks")[1] == ["-m pytest -m exhaustive"]
    trust = "-m pytest -n 0 -m trust or slow tests/trust tests/e2e/test_mutated_runs.py"
    assert make(checkout, "make", "test-trust")[1] == [trust]
    assert make(checkout, "make", "lint")[1] == ["check .", "format --check .", ""]
    assert make(checkout, "make", "demo")[1] == ["demo"]


def test_slow_tests_try_more_examples(checkout: Path) -> None:
    make(checkout, "make", "test")
    make(checkout, "make", "test-all")
    make(checkout, ".ci/run")
    profiles = (checkout / "profiles").read_text(encoding="utf-8").splitlines()
    assert profiles == ["", "thorough", "thorough", "", "thorough"]


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_make_starts_anew_when_the_project_changed(checkout: Path, name: str) -> None:
    make(checkout, "make", "test")
    with (checkout / name).open("a", encoding="utf-8") as file:
        file.write("\n# changed\n")
    assert make(checkout, "make", "test")[1][0] == "-m venv --clear .venv"


def test_a_failed_installation_is_repeated(checkout: Path) -> None:
    code, calls, _ = make(checkout, "make", "test", FAIL="pip install")
    assert code != 0
    assert FAST not in calls
    assert make(checkout, "make", "test")[1][0] == "-m venv --clear .venv"


def test_an_environment_of_the_user_is_never_cleared(checkout: Path) -> None:
    own = checkout / "own"
    (own / "bin").mkdir(parents=True)
    for tool in ("python", "ruff", "mypy", "isnet"):
        shutil.copy2(checkout / "python", own / "bin" / tool)
    calls = make(checkout, "make", "test", ISNET_VENV=str(own))[1]
    assert calls[0].startswith("-m pip install")
    assert not (checkout / ".venv").exists()


def test_an_old_python_is_refused_with_a_way_out(checkout: Path) -> None:
    (checkout / "python").write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    code, _, message = make(checkout, "make", "test")
    assert code != 0
    assert "older than Python 3.11" in message


def test_the_ci_script_runs_tests_and_lint_in_a_cached_environment(checkout: Path) -> None:
    code, calls, message = make(checkout, ".ci/run", XDG_CACHE_HOME=str(checkout / "cache"))
    assert code == 0, message
    assert calls[-5:] == [FAST, SLOW, "check .", "format --check .", ""]
    (folder,) = [path for path in (checkout / "cache/isnet-ci").iterdir() if path.is_dir()]
    assert re.fullmatch(r"[0-9a-f]{64}", folder.name)
    again = make(checkout, ".ci/run", XDG_CACHE_HOME=str(checkout / "cache"))[1]
    assert again == [FAST, SLOW, "check .", "format --check .", ""]
    assert (make(checkout, ".ci/run")[0], (checkout / "home/.cache/isnet-ci").is_dir()) == (0, True)


@pytest.mark.parametrize("failing", ["not slow", "slow or hypothesis", "check .", "pip install"])
def test_the_ci_script_fails_when_a_step_fails(checkout: Path, failing: str) -> None:
    assert make(checkout, ".ci/run", FAIL=failing)[0] != 0
