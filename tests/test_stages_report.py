"""The report as a whole: complete, private, self-contained, repeatable, seen by a browser."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from isnet_cli.errors import IsnetError
from isnet_cli.ports import Ports
from isnet_cli.runs.folder import RunFolder
from isnet_cli.stages.report import LARGE, build_report
from page_reader import Page
from report_factory import STAGES, make_report_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
HOSTILE = "<script>alert('x')</script>"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[RunFolder]:
    """Two runs that share films, one robust, one that reads the shapes."""
    root = tmp_path_factory.mktemp("runs")
    first = make_report_run(root / "isnet")
    skill = {"biased": 1.5, "standard": 0.5, "deceiving": -1.0}
    config = {"upstream": str(root / "isnet")}
    second = make_report_run(
        root / "standard", method="standard", outside=0.7, skill=skill, config=config
    )
    return [first, second]


@pytest.fixture(scope="module")
def built(runs: list[RunFolder], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report on both."""
    return build_report(runs, tmp_path_factory.mktemp("out") / "report.html", Ports())


def test_structure_of_a_comparison(built: Path) -> None:
    page = Page(built.read_text(encoding="utf-8"))
    assert page.ids == [
        "about", "cohort", "masks", "training", "scores", "shift", "relevance", "maps",
        "configuration", "versions", "limits",
    ]  # fmt: skip
    assert page.tags.count("h1") == 1
    assert page.tags.count("h2") == 11
    alts = [value for tag, name, value in page.attributes if (tag, name) == ("img", "alt")]
    kinds = ("Film", "Loss", "ROC", "Confusion", "Bars", "Relevance map")
    assert {kind: sum(alt.startswith(kind) for alt in alts) for kind in kinds} == {
        "Film": 21, "Loss": 2, "ROC": 6, "Confusion": 12, "Bars": 3, "Relevance map": 48,
    }  # fmt: skip
    assert all(alts)


def test_numbers_are_those_of_the_files(built: Path, runs: list[RunFolder]) -> None:
    page = Page(built.read_text(encoding="utf-8"))
    metrics = json.loads((runs[1].path / "evaluate" / "metrics.json").read_text())
    found = metrics["sets"]["test"]["deceiving"]
    expected = [f"{found['macro'][rate]:.3f}" for rate in ("f1", "auc")]
    row = next(r for r in page.cells if r[:2] == ["test", "deceiving"])
    assert [row[3], row[5]] == expected
    assert row[7] == f"{100 * found['relevance_outside']['mean']:.1f}\N{NO-BREAK SPACE}%"
    assert "33 films found" in page.words
    assert "2 no pixels" in page.words


def test_nothing_is_loaded_from_anywhere(built: Path) -> None:
    content = built.read_text(encoding="utf-8")
    page = Page(content)
    assert all(a.startswith(("data:image/", "#")) for a in page.addresses())
    assert "script" not in page.tags
    assert not re.search(r"https?://", re.sub(r"data:[^\"]*", "", content))
    assert len(content) < LARGE


def test_no_folder_of_the_machine_and_no_input_file_is_named(
    built: Path, runs: list[RunFolder]
) -> None:
    content = built.read_text(encoding="utf-8")
    for word in ("/home", "someone", "secret", str(runs[0].path)):
        assert word not in content


def test_same_runs_same_bytes_and_the_runs_stay_as_they_are(
    built: Path, runs: list[RunFolder], tmp_path: Path
) -> None:
    def state() -> dict[Path, tuple[int, int]]:
        files = [p for run in runs for p in run.path.rglob("*") if p.is_file()]
        return {p: (p.stat().st_size, p.stat().st_mtime_ns) for p in files}

    before = state()
    again = build_report(runs, tmp_path / "again.html", Ports())
    assert again.read_bytes() == built.read_bytes()
    assert state() == before
    assert [p.name for p in tmp_path.iterdir()] == ["again.html"]


@pytest.mark.parametrize("count", range(len(STAGES)))
def test_unfinished_runs_have_explained_sections(tmp_path: Path, count: int) -> None:
    folder = make_report_run(tmp_path / "run", stages=STAGES[:count])
    if count == 0:
        folder.begin("ingest", "x")
    page = Page(build_report([folder], tmp_path / "r.html", Ports()).read_text(encoding="utf-8"))
    assert len(page.ids) == 11
    for stage in STAGES[count:]:
        assert f"stage '{stage}'" in page.words
    for stage in STAGES[:count]:
        assert f"stage '{stage}'" not in page.words


def test_a_plain_run_has_no_word_of_marks(tmp_path: Path) -> None:
    folder = make_report_run(tmp_path / "run", biased=False)
    page = Page(build_report([folder], tmp_path / "r.html", Ports()).read_text(encoding="utf-8"))
    assert "deceiving" not in page.words
    assert "montgomery" in page.words


def test_hostile_names_of_classes_and_sets(tmp_path: Path) -> None:
    folder = make_report_run(
        tmp_path / "run",
        classes=(HOSTILE, "$\\frac{x"),
        sets={"train": 4, "test": 6},
        sources={"test": '"><img src=x onerror=alert(1)>'},
    )
    content = build_report([folder], tmp_path / "r.html", Ports()).read_text(encoding="utf-8")
    page = Page(content)
    assert HOSTILE not in content
    assert HOSTILE in page.words
    assert "$\\frac{x" in page.words
    assert "script" not in page.tags
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IsnetError, match="no run\\.json"):
        build_report([RunFolder(tmp_path)], tmp_path / "r.html", Ports())
    with pytest.raises(IsnetError, match="no run folder"):
        build_report([], tmp_path / "r.html", Ports())
    assert not (tmp_path / "r.html").exists()


def test_a_large_report_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_report_run(tmp_path / "run", stages=("ingest",))
    warnings: list[tuple[str, str]] = []
    monkeypatch.setattr("isnet_cli.stages.report.LARGE", 1000)
    ports = Ports(warn=lambda category, text: warnings.append((category, text)))
    build_report([folder], tmp_path / "r.html", ports)
    assert len(warnings) == 1
    assert "MB" in warnings[0][1]


def seen(page: Path, folder: Path, width: int) -> tuple[Image.Image, set[str]]:
    """A page as a browser shows it, and the addresses that the browser asked for.

    The browser's own calls home, which fail without a network, are left out.
    """
    picture, log = folder / "page.png", folder / "net.json"
    subprocess.run(
        [
            str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
            "--disable-background-networking", "--disable-component-update", "--no-first-run",
            f"--user-data-dir={folder / 'profile'}", f"--window-size={width},4000",
            f"--screenshot={picture}", f"--log-net-log={log}", page.as_uri(),
        ],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    found = re.findall(r'"url":\s*"(https?://[^"]*)"', log.read_text(errors="replace"))
    own = re.compile(r"https?://[^/]*(google|gvt1|chromium)[^/]*/")
    return Image.open(picture).convert("RGB"), {url for url in found if not own.match(url)}


needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")


@needs_browser
@pytest.mark.parametrize("width", [1200, 390])
def test_a_browser_shows_it_and_asks_for_nothing(built: Path, tmp_path: Path, width: int) -> None:
    image, asked = seen(built, tmp_path, width)
    assert image.size == (width, 4000)
    colours = image.getcolors(2**24)
    assert colours is not None
    assert len(colours) > 500  # films and drawings, not an empty page
    assert asked == set()


@needs_browser
def test_the_browser_test_can_fail(tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text("<img src='http://canary.example/x.png'>")
    assert seen(page, tmp_path, 400)[1] == {"http://canary.example/x.png"}
