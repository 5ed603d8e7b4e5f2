"""Several files, and lists on stdin, in place of a folder; documents on stdout."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from isnet_cli.cli.source import make_run_name, resolve_source
from isnet_cli.config.load import load
from isnet_cli.errors import IsnetError
from isnet_cli.images.manifest import read_manifest
from tests.cli.factory import isnet
from tests.ingest.factory import png

QUIET = ("--no-progress", "-j", "0")


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with four films in two folders."""
    for n in range(4):
        png(tmp_path / f"{'ab'[n % 2]}/x{n}.png", n)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def say(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


@pytest.mark.parametrize("text", ["a/x0.png\n\nb\n", "a/x0.png\0b\0"])
def test_a_list_on_stdin(work: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    say(monkeypatch, text)
    assert resolve_source([Path("-")], None).images == (Path("a/x0.png"), Path("b"))


def test_words_and_stdin_may_be_mixed(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    say(monkeypatch, "a/x0.png\n")
    found = resolve_source([Path("b"), Path("-")], None).images
    assert found == (Path("b"), Path("a/x0.png"))
    assert make_run_name(found) == work.name


@pytest.mark.parametrize(
    ("words", "kind", "said"),
    [
        (["-"], "usage", "no path on stdin"),
        (["a", "none"], "data", "none: no such file"),
        (["a", "c.yaml"], "usage", "c.yaml: among several sources"),
    ],
)
def test_what_is_no_list(
    work: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], kind: str, said: str
) -> None:
    say(monkeypatch, "\n")
    with pytest.raises(IsnetError, match=said) as caught:
        resolve_source([Path(word) for word in words], None)
    assert caught.value.kind == kind


def test_several_processes_cannot_share_stdin(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(IsnetError, match="with torchrun"):
        resolve_source([Path("-")], None)


def test_a_command_works_on_a_list_and_its_run_goes_on(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(monkeypatch, "a/x0.png\nb/x1.png\nb/x3.png\n")
    done = isnet("ingest", "-", "-o", "run", *QUIET)
    assert done.code == 0, done.err
    rows = read_manifest(work / "run/ingest/manifest.csv")
    assert [row.key for row in rows] == ["a/x0", "b/x1", "b/x3"]
    config = load(work / "run/isnet.yaml")
    assert config.data.images == [str(work / n) for n in ("a/x0.png", "b/x1.png", "b/x3.png")]
    assert isnet("ingest", "run", *QUIET).code == 0
    several = isnet("ingest", "a/x0.png", "b", "-o", "run2", *QUIET)
    assert several.code == 0, several.err
    assert len(read_manifest(work / "run2/ingest/manifest.csv")) == 3


def test_names_that_must_not_be_kept_are_not_taken_from_words(work: Path) -> None:
    done = isnet("ingest", "a", "b", "-o", "run", "--set", "data.privacy.rename=true", *QUIET)
    assert (done.code, ".txt file" in done.err) == (2, True)
    assert not (work / "run").exists()


def test_init_on_stdout_is_a_configuration(work: Path) -> None:
    done = isnet("init", "a", "-o", "-")
    assert done.code == 0, done.err
    (work / "isnet.yaml").write_text(done.out, encoding="utf-8")
    assert load(work / "isnet.yaml").data.images == str(work / "a")
    (work / "c/train/NORMAL").mkdir(parents=True)
    (work / "c/train/PNEUMONIA").mkdir()
    assert isnet("init", "c", "-o", "-").code == 2
