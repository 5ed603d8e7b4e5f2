"""The report as a whole: complete, private, self-contained, repeatable, seen by a browser."""

import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.errors import IsnetError
from isnet_cli.report.write import LARGE, build_report, check_page
from tests.report.factory import STAGES, make_report_run
from tests.report.page_reader import Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SMALL = {"train": 2, "val": 2, "test": 4}
HOSTILE = "<script>alert('x')</script>"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[RunFolder]:
    """Two runs that share images, one robust, one that reads the shapes."""
    root = tmp_path_factory.mktemp("runs")
    sets = {"train": 4, "val": 2, "test": 4}
    first = make_report_run(root / "isnet", sets=sets, full=True)
    skill = {"biased": 1.5, "standard": 0.5, "deceiving": -1.0}
    config = {"upstream": str(root / "isnet")}
    second = make_report_run(
        root / "standard", method="standard", outside=0.7, skill=skill, config=config, sets=sets,
        full=True,
    )  # fmt: skip
    return [first, second]


@pytest.fixture
def no_drawings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are empty: for tests that are about something else."""
    monkeypatch.setattr("isnet_cli.report.drawings.svg_text", lambda figure: "<svg/>")


@pytest.fixture(scope="module")
def built(runs: list[RunFolder], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report on both, its figures empty."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("isnet_cli.report.drawings.svg_text", lambda figure: "<svg/>")
        return build_report(runs, tmp_path_factory.mktemp("out") / "report.html", RunContext())


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """One run of two test sets."""
    sets = {"train": 2, "val": 2, "test": 2, "montgomery": 2}
    path = tmp_path_factory.mktemp("small") / "run"
    return make_report_run(path, biased=False, sets=sets, full=True)


@pytest.fixture(scope="module")
def page(small: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report on the small run, with all its figures."""
    return build_report([small], tmp_path_factory.mktemp("page") / "report.html", RunContext())


def test_structure_of_a_comparison(built: Path) -> None:
    page = Page(built.read_text(encoding="utf-8"))
    assert page.ids == [
        "about", "cohort", "masks", "training", "scores", "calibration", "shift", "background",
        "relevance", "maps", "images", "configuration", "versions", "limits",
    ]  # fmt: skip
    assert page.tags.count("h1") == 1
    assert page.tags.count("h2") == 14
    alts = [value for tag, name, value in page.attributes if (tag, name) == ("img", "alt")]
    kinds = (
        "Image", "Loss", "ROC", "Precision-recall", "Confusion", "Reliability", "Bars", "Estimates",
    )  # fmt: skip
    assert {kind: sum(alt.startswith(kind) for alt in alts) for kind in kinds} == {
        "Image": 10, "Loss": 2, "ROC": 3, "Precision-recall": 3, "Confusion": 6, "Reliability": 3,
        "Bars": 3, "Estimates": 5,
    }  # fmt: skip
    assert sum(alt.startswith("Relevance map") for alt in alts) > 30
    assert all(alts)


def bracketed(value: float, low: float, high: float) -> str:
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def test_numbers_are_those_of_the_files(built: Path, runs: list[RunFolder]) -> None:
    """Read again with json alone, row by row of the page."""
    page = Page(built.read_text(encoding="utf-8"))
    metrics = json.loads((runs[1].path / "evaluate" / "metrics.json").read_text())
    found = metrics["sets"]["test"]["deceiving"]
    cells = found["intervals"]["macro"]
    f1, auc = (bracketed(*(cells[r][k] for k in ("value", "low", "high"))) for r in ("f1", "auc"))
    rows = [r for r in page.cells if r[:2] == ["test", "deceiving"]]
    own = [r for r in rows if r[2] == "standard"]
    assert own[0][3:5] == [f1, auc]
    assert own[0][5] == f"{100 * found['relevance_outside']['mean']:.1f}\N{NO-BREAK SPACE}%"
    accuracy = found["intervals"]["accuracy"]
    assert own[1][3:5] == [str(found["n"]), str(found["patients"])]
    assert own[1][5] == bracketed(*(accuracy[k] for k in ("value", "low", "high")))
    assert own[1][6:8] == [f1, auc]
    calibration = found["calibration"]
    assert any(r[4] == f"{calibration['ece']:.3f}" and len(r) == 8 for r in own)
    assert "13 images found" in page.words
    assert "2 no pixels" in page.words


def test_deltas_and_background_are_those_of_the_files(built: Path, runs: list[RunFolder]) -> None:
    page = Page(built.read_text(encoding="utf-8"))
    metrics = json.loads((runs[0].path / "evaluate" / "metrics.json").read_text())
    for pair in metrics["shift"]:
        cell = pair["differences"]["macro"]["auc"]
        title = f"{pair['from'][0]}: {pair['from'][1]} → {pair['to'][1]}"
        row = next(r for r in page.cells if r[0].startswith(title) and r[1] == "isnet")
        text = row[5].replace("\N{MINUS SIGN}", "-").replace("[", "").replace("]", "")
        numbers = [float(part.strip(",")) for part in text.split()]
        expected = [v for v in (cell["value"], cell["low"], cell["high"]) if v is not None]
        assert numbers == pytest.approx(expected, abs=5.1e-4)
    flips = metrics["sets"]["test"]["biased"]["background"]["flips"]
    share = f"{100 * flips['rate']:.1f}\N{NO-BREAK SPACE}% [{100 * flips['low']:.1f}, "
    assert any(r[:3] == ["test", "biased", "isnet"] and r[4].startswith(share)
               for r in page.cells if len(r) > 4)  # fmt: skip


def test_every_section_and_figure_names_files_that_exist(
    built: Path, runs: list[RunFolder]
) -> None:
    page = Page(built.read_text(encoding="utf-8"))
    named = [code.partition(":")[0] for code in page.codes]
    for run in runs:
        for name in (n for n in named if n.startswith(f"{run.path.name}/") and "<" not in n):
            assert (run.path.parent / name).is_file(), name
    assert sum("predictions.csv" in name for name in named) > 10
    digests = {r[1]: r[3] for r in page.cells if len(r) == 4 and r[0] == "isnet" and "/" in r[1]}
    for name, digest in digests.items():
        assert hashlib.sha256((runs[0].path / name).read_bytes()).hexdigest() == digest
    assert len(digests) > 10


def test_a_file_that_changed_after_its_stage_is_refused(tmp_path: Path, no_drawings: None) -> None:
    folder = make_report_run(tmp_path / "run", stages=STAGES[:-1], biased=False, sets=SMALL)
    build_report([folder], tmp_path / "a.html", RunContext())
    path = folder.stage_dir("evaluate") / "test" / "standard" / "predictions.csv"
    path.write_text(path.read_text() + "\n")
    with pytest.raises(IsnetError, match=r"predictions\.csv was changed since it was written"):
        build_report([folder], tmp_path / "b.html", RunContext())
    assert not (tmp_path / "b.html").exists()


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
    small: RunFolder, page: Path, tmp_path: Path
) -> None:
    def state() -> dict[Path, tuple[int, int]]:
        files = [p for p in small.path.rglob("*") if p.is_file()]
        return {p: (p.stat().st_size, p.stat().st_mtime_ns) for p in files}

    before = state()
    again = build_report([small], tmp_path / "again.html", RunContext())
    assert again.read_bytes() == page.read_bytes()
    assert "test → montgomery" in again.read_text(encoding="utf-8")
    assert state() == before
    assert [p.name for p in tmp_path.iterdir()] == ["again.html"]


@pytest.mark.parametrize("count", range(len(STAGES)))
def test_unfinished_runs_have_explained_sections(
    tmp_path: Path, count: int, no_drawings: None
) -> None:
    folder = make_report_run(tmp_path / "run", stages=STAGES[:count], biased=False, sets=SMALL)
    if count == 0:
        folder.begin("ingest", "x")
    page = Page(
        build_report([folder], tmp_path / "r.html", RunContext()).read_text(encoding="utf-8")
    )
    assert len(page.ids) == 14
    for stage in STAGES[count:]:
        assert f"stage '{stage}'" in page.words
    for stage in STAGES[:count]:
        assert f"stage '{stage}'" not in page.words


def test_a_plain_run_has_no_word_of_marks(tmp_path: Path, no_drawings: None) -> None:
    sets = {"train": 2, "val": 2, "test": 2, "montgomery": 2}
    folder = make_report_run(tmp_path / "run", biased=False, sets=sets)
    page = Page(
        build_report([folder], tmp_path / "r.html", RunContext()).read_text(encoding="utf-8")
    )
    assert "deceiving" not in page.words
    assert "montgomery" in page.words


NAMES = {
    "script": HOSTILE,
    "quotes": "\"' onmouseover=alert(1) x='<b>&amp;",
    "long": "pneumonia" * 40,
    "right to left": "\u05e9\u05dc\u05d5\u05dd \u202egnp.exe",
    "mathematics": "$\\frac{x",
    "template": "{{ 7 * 7 }}{% raw %}",
}


def test_hostile_names_of_classes_sets_and_sources(tmp_path: Path) -> None:
    names = list(NAMES.values())
    sets = {NAMES["long"]: 2, NAMES["quotes"]: 6}
    folder = make_report_run(
        tmp_path / "run",
        classes=names,
        sets=sets,
        sources=dict(zip(sets, names, strict=False)),
        biased=False,
        hostile=True,
        full=True,
    )
    content = build_report([folder], tmp_path / "r.html", RunContext()).read_text(encoding="utf-8")
    page = Page(content)
    assert HOSTILE not in content
    assert "\u202e" not in content  # a mark that turns the direction of what follows
    for name in names:
        assert " ".join(name.replace("\u202e", "\ufffd").split()) in page.words
    assert "script" not in page.tags
    assert not [n for _, n, _ in page.attributes if n.startswith("on")]
    assert all(a.startswith(("data:image/", "#")) for a in page.addresses())


def test_a_large_page_shows_fewer_images_until_it_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_drawings: None
) -> None:
    folder = make_report_run(
        tmp_path / "run", biased=False, sets={"train": 2, "test": 8}, formats=("npz",)
    )
    warnings: list[str] = []
    context = RunContext(warn=lambda category, text: warnings.append(text))
    whole = build_report([folder], tmp_path / "a.html", context).read_text("utf-8")
    monkeypatch.setattr("isnet_cli.report.write.LARGE", len(whole) - 1)
    content = build_report([folder], tmp_path / "b.html", context).read_text("utf-8")
    assert len(content.encode()) < len(whole) - 1
    assert "Fewer images than usual are shown" in content
    assert content.count('alt="Relevance map') < whole.count('alt="Relevance map')
    assert warnings == []


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IsnetError, match="no run\\.json"):
        build_report([RunFolder(tmp_path)], tmp_path / "r.html", RunContext())
    with pytest.raises(IsnetError, match="no run folder"):
        build_report([], tmp_path / "r.html", RunContext())
    assert not (tmp_path / "r.html").exists()


def test_a_large_report_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_report_run(tmp_path / "run", stages=("ingest",))
    warnings: list[tuple[str, str]] = []
    monkeypatch.setattr("isnet_cli.report.write.LARGE", 1000)
    context = RunContext(warn=lambda category, text: warnings.append((category, text)))
    build_report([folder], tmp_path / "r.html", context)
    assert len(warnings) == 1
    assert "MB" in warnings[0][1]


def seen(page: Path, folder: Path, width: int) -> tuple[Image.Image, set[str], list[str]]:
    """A page as a browser shows it, the addresses it asked for, and what its console says.

    The browser's own calls home, which fail without a network, are left out.
    """
    picture, log = folder / "page.png", folder / "net.json"
    ran = subprocess.run(
        [
            str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
            "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", "--hide-scrollbars", "--enable-logging=stderr",
            f"--user-data-dir={folder / 'profile'}", f"--window-size={width},3000",
            f"--screenshot={picture}", f"--log-net-log={log}", page.as_uri(),
        ],
        check=True, capture_output=True, timeout=120, text=True, errors="replace",
    )  # fmt: skip
    found = re.findall(r'"url":\s*"(https?://[^"]*)"', log.read_text(errors="replace"))
    own = re.compile(r"https?://[^/]*(google|gvt1|chromium)[^/]*/")
    console = re.findall(r"CONSOLE[^\]]*\]\s*(.*)", ran.stderr)
    return Image.open(picture).convert("RGB"), {u for u in found if not own.match(u)}, console


needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("width", [1200, 390])
def test_a_browser_shows_it_and_asks_for_nothing(page: Path, tmp_path: Path, width: int) -> None:
    image, asked, console = seen(page, tmp_path, width)
    assert image.size == (width, 3000)
    colours = image.getcolors(2**24)
    assert colours is not None
    assert len(colours) > 500  # images and drawings, not an empty page
    assert asked == set()
    assert console == []


@needs_browser
@pytest.mark.slow
def test_a_phone_need_not_scroll_sideways(runs: list[RunFolder], tmp_path: Path) -> None:
    """Measured by a script in a copy of the page that may run scripts, in a frame of that width."""
    built = build_report(runs, tmp_path / "report.html", RunContext())
    content = built.read_text(encoding="utf-8")
    content = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", content)
    script = (
        "<script>const d = document.documentElement;"
        "console.log(`wide ${d.scrollWidth} of ${d.clientWidth}`)</script></body>"
    )
    inner, page = tmp_path / "inner.html", tmp_path / "frame.html"
    inner.write_text(content.replace("</body>", script), encoding="utf-8")
    page.write_text('<iframe src="inner.html" width="390" height="800" style="border: 0">')
    _, _, console = seen(page, tmp_path, 500)
    assert len(console) == 1
    found = re.search(r"wide (\d+) of (\d+)", console[0])
    assert found is not None
    assert int(found[1]) <= int(found[2]) <= 390


@needs_browser
@pytest.mark.slow
def test_the_browser_test_can_fail(tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text("<img src='http://canary.example/x.png'><script>console.warn('no')</script>")
    _, asked, console = seen(page, tmp_path, 400)
    assert asked == {"http://canary.example/x.png"}
    assert '"no"' in console[0]


def test_a_page_replaces_pages_alone(tmp_path: Path) -> None:
    """A slip of the hand, or of a shell's completion, costs no table."""
    page = build_report([make_report_run(tmp_path / "run")], tmp_path / "r.html", RunContext())
    check_page(page)
    check_page(tmp_path / "new.HTM")
    (tmp_path / "mine.html").write_text("<html><body>isnet</body></html>")
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "link.html").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.html")
    for name in ("mine", "folder", "link", "pipe"):
        with pytest.raises(IsnetError, match="exists and is no page of isnet") as caught:
            check_page(tmp_path / f"{name}.html")
        assert caught.value.kind == "usage"
    for name in ("labels.csv", "report", "."):
        with pytest.raises(IsnetError, match="expected the name of an HTML file"):
            check_page(Path(name))
