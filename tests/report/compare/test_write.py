"""A comparison as a whole: complete, traceable, repeatable, private, safe, shown by a browser."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from isnet_cli.core.files import read_csv
from isnet_cli.core.records.sealed import SEAL
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.errors import IsnetError
from isnet_cli.report.compare import write
from isnet_cli.report.compare.ownership import ChosenPairs
from isnet_cli.report.compare.write import ComparisonFiles, compare_runs
from tests.report.compare.factory import compared_run, images, opened
from tests.report.factory import make_report_run
from tests.report.page_reader import Page

HOSTILE = "<script>alert('x')</script>"
FILES = ["c.html", "c.json", "c_reliance.csv", "c_scores.csv", "c_seeds.csv", "c_tests.csv"]
SECTIONS = ["about", "scores", "tests", "seeds", "reliance", "maps", "origins", "limits"]


def compare(runs: list[RunFolder], output: Path, **options: Any) -> ComparisonFiles:
    context = options.pop("context", None) or RunContext()
    return compare_runs([opened(run) for run in runs], output, context, **options)


def page_of(found: ComparisonFiles) -> Page:
    return Page(found.page.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[RunFolder]:
    """Three runs with maps on the same images, two of them of the same settings."""
    root = tmp_path_factory.mktemp("runs")
    found = []
    for name, seed, skill in (("isnet-0", 0, 1.5), ("isnet-1", 1, 0.4), ("standard", 0, -0.5)):
        config: dict[str, Any] = {"seed": seed}
        if found:
            config["upstream"] = str(found[0].path)
        versions = dict.fromkeys(("biased", "standard", "deceiving"), skill)
        method = name.partition("-")[0]
        sets = {"train": 2, "val": 2, "test": 6}
        run = make_report_run(
            root / name, method=method, skill=versions, config=config, sets=sets, formats=("npz",)
        )
        found.append(run)
    return found


@pytest.fixture(scope="module")
def built(runs: list[RunFolder], tmp_path_factory: pytest.TempPathFactory) -> ComparisonFiles:
    return compare(runs, tmp_path_factory.mktemp("out") / "c.html")


def test_page_and_data_lie_beside_each_other(built: ComparisonFiles) -> None:
    assert sorted(path.name for path in built.page.parent.iterdir()) == FILES
    assert sorted(path.name for path in built.files) == FILES
    beside = json.loads(built.page.with_suffix(".json").read_text(encoding="utf-8"))
    assert beside.pop(SEAL)
    assert beside == built.content
    page = page_of(built)
    assert page.ids == SECTIONS
    assert page.tags.count("h1") == 1
    alts = [value for tag, name, value in page.attributes if (tag, name) == ("img", "alt")]
    assert sum(alt.startswith("Relevance map") for alt in alts) == len(built.content["maps"]) > 0
    assert sum("with intervals" in alt for alt in alts) == 2
    assert all(alts)


def figures(page: Page) -> set[str]:
    """All numbers with a decimal point in the page's tables."""
    return {n for row in page.cells for cell in row for n in re.findall(r"\d+\.\d+", cell)}


def numbers(tree: Any) -> list[float]:
    if isinstance(tree, dict):
        return [n for value in tree.values() for n in numbers(value)]
    if isinstance(tree, list):
        return [n for value in tree for n in numbers(value)]
    return [tree] if isinstance(tree, (int, float)) else []


def test_every_figure_of_the_tables_is_in_the_files_beside(built: ComparisonFiles) -> None:
    known = numbers(json.loads(built.page.with_suffix(".json").read_text(encoding="utf-8")))
    shown = {f"{abs(n):.3f}" for n in known} | {f"{100 * n:.1f}" for n in known} | {"0.001"}
    found = figures(page_of(built))
    assert len(found) > 50
    assert found <= shown
    for name in ("scores", "tests", "reliance", "seeds"):
        lines = read_csv(built.page.with_name(f"c_{name}.csv"))
        cells = [line[key] for line in lines for key in ("value", "mean") if line.get(key)]
        assert cells
        assert {float(cell) for cell in cells} <= {float(n) for n in known}


def test_numbers_are_those_of_the_runs(built: ComparisonFiles, runs: list[RunFolder]) -> None:
    page = page_of(built)
    for run in runs:
        metrics = json.loads((run.path / "evaluate" / "metrics.json").read_text())
        macro = metrics["sets"]["test"]["deceiving"]["macro"]
        row = next(r for r in page.cells if r[:2] == ["test · deceiving", run.path.name])
        assert row[2:4] == [f"{macro[rate]:.3f}" for rate in ("f1", "auc")]


def test_seeds_stand_beside_runs_and_are_not_mixed(built: ComparisonFiles) -> None:
    (group,) = built.content["seeds"]
    assert (group["name"], group["runs"]) == ("isnet", ["isnet-0", "isnet-1"])
    words = page_of(built).words
    assert "isnet: seeds 0, 1" in words
    assert "mean, s.d. of 2 seeds" in words
    assert "Without a run of another seed: standard." in words
    assert "places of synthetic marks depend on each run's seed" in words


def test_nothing_is_loaded_and_no_folder_is_named(
    built: ComparisonFiles, runs: list[RunFolder]
) -> None:
    page = page_of(built)
    assert all(a.startswith(("data:image/", "#")) for a in page.addresses())
    assert "script" not in page.tags
    for path in built.files:
        text = path.read_text(encoding="utf-8")
        for word in ("/home", "someone", "secret", str(runs[0].path)):
            assert word not in text


def test_same_runs_same_bytes_and_the_runs_stay_as_they_are(
    built: ComparisonFiles, runs: list[RunFolder], tmp_path: Path
) -> None:
    def state() -> dict[Path, int]:
        return {p: p.stat().st_mtime_ns for run in runs for p in run.path.rglob("*")}

    before = state()
    again = compare(runs, tmp_path / "c.html")
    for one, other in zip(built.files, again.files, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert state() == before


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    pair = [compared_run(tmp_path / name, noise=i) for i, name in enumerate("ab")]
    (tmp_path / "c_tests.csv").write_text("mine")
    with pytest.raises(IsnetError, match=r"c_tests\.csv: exists") as caught:
        compare(pair, tmp_path / "c.html")
    assert caught.value.kind == "usage"
    assert not (tmp_path / "c.html").exists()
    compare(pair, tmp_path / "c.html", overwrite=True)
    assert (tmp_path / "c_tests.csv").read_text().startswith("set,version,first")


@pytest.mark.parametrize("name", ["write_text", "write_csv", "write_sealed"])
def test_an_unfinished_page_is_made_again(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a kill: nothing is cleaned up, and the same command goes on."""
    pair = [compared_run(tmp_path / name, noise=i) for i, name in enumerate("ab")]
    right = compare(pair, tmp_path / "right" / "c.html")
    original = getattr(write, name)
    for calls in range(4 if name == "write_csv" else 1):
        left = [calls]

        def killed(*words: object, left: list[int] = left) -> None:
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1
            original(*words)

        with monkeypatch.context() as patch:
            patch.setattr(write, name, killed)
            with pytest.raises(KeyboardInterrupt):
                compare(pair, tmp_path / "here" / "c.html")
        found = compare(pair, tmp_path / "here" / "c.html")
        for one, other in zip(right.files, found.files, strict=True):
            assert one.read_bytes() == other.read_bytes()
        assert sorted((tmp_path / "here").iterdir()) == sorted(found.files)


def test_a_page_on_the_same_runs_follows_their_results(tmp_path: Path) -> None:
    pair = [compared_run(tmp_path / name, noise=i) for i, name in enumerate("ab")]
    before = compare(pair, tmp_path / "c.html").page.read_bytes()
    assert compare(pair, tmp_path / "c.html").page.read_bytes() == before
    shutil.rmtree(tmp_path / "b")
    pair[1] = compared_run(tmp_path / "b", noise=5)
    after = compare(pair, tmp_path / "c.html").page.read_bytes()
    assert after != before
    assert after == compare(pair, tmp_path / "d" / "c.html").page.read_bytes()


def test_pages_of_others_are_not_replaced(tmp_path: Path) -> None:
    runs = [compared_run(tmp_path / name, noise=i) for i, name in enumerate("abc")]
    compare(runs[:2], tmp_path / "c.html")
    with pytest.raises(IsnetError, match=r"c\.html: exists and is no page of these runs"):
        compare(runs, tmp_path / "c.html")
    (tmp_path / "c_scores.csv").write_text("mine")
    with pytest.raises(IsnetError, match="exists and is no page of these runs"):
        compare(runs[:2], tmp_path / "c.html")
    assert (tmp_path / "c_scores.csv").read_text() == "mine"


@pytest.mark.parametrize("name", ["c", "c.json", "c.csv"])
def test_a_page_is_an_html_file(tmp_path: Path, name: str) -> None:
    pair = [compared_run(tmp_path / n, noise=i) for i, n in enumerate("ab")]
    with pytest.raises(IsnetError, match="expected the name of an HTML file"):
        compare(pair, tmp_path / name)


def test_two_different_runs_are_needed(tmp_path: Path) -> None:
    one = compared_run(tmp_path / "a")
    with pytest.raises(IsnetError, match="1 run, expected at least two"):
        compare([one], tmp_path / "c.html")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(IsnetError, match="b twice, expected different runs"):
        compare([one, RunFolder(tmp_path / "b")], tmp_path / "c.html")


def test_chosen_pairs_alone_are_tested_and_the_page_says_so(tmp_path: Path) -> None:
    names = ["a", "b", "c"]
    runs = [compared_run(tmp_path / name, noise=i) for i, name in enumerate(names)]
    chosen = ChosenPairs(((2, 0), (2, 1)), "each run against the last")
    found = compare(runs, tmp_path / "c.html", chosen=chosen).content["comparisons"]
    pairs = list(dict.fromkeys((one["first"], one["second"]) for one in found["pairs"]))
    assert pairs == [(names[2], names[0]), (names[2], names[1])]
    assert found["family_size"] == len(found["pairs"])
    assert "The family: each run against the last." in (tmp_path / "c.html").read_text()


def test_tests_left_out_are_warned_of_and_shown(tmp_path: Path) -> None:
    one = compared_run(tmp_path / "a", {"test": images(8), "far": images(6, head="g")})
    two = compared_run(tmp_path / "b", {"test": images(8)}, noise=1)
    said: list[str] = []
    context = RunContext(warn=lambda category, text: said.append(f"{category}: {text}"))
    found = compare([one, two], tmp_path / "c.html", context=context)
    assert said == ["data: far / standard is left out: not evaluated by b"]
    assert "Left out: far, standard images: not evaluated by b." in page_of(found).words


def test_sets_without_labels_have_no_tests_and_say_why(tmp_path: Path) -> None:
    sets = {"test": dict.fromkeys(images(6), "")}
    pair = [compared_run(tmp_path / name, sets, noise=i) for i, name in enumerate("ab")]
    found = compare(pair, tmp_path / "c.html")
    assert found.content["comparisons"]["pairs"] == []
    words = page_of(found).words
    assert "No test has labels" in words
    assert "No labelled image in this set: test, a, macro F1;" in words  # evaluate's reason
    sets["more"] = images(8, head="g")
    pair = [compared_run(tmp_path / name, sets, noise=i) for i, name in enumerate("cd")]
    found = compare(pair, tmp_path / "d.html")
    assert [pair["set"] for pair in found.content["comparisons"]["pairs"]] == ["more"]


def test_a_set_of_one_class_has_what_can_be_had(tmp_path: Path) -> None:
    sets = {"test": dict.fromkeys(images(6), "tb")}
    pair = [compared_run(tmp_path / name, sets, noise=i) for i, name in enumerate("ab")]
    (found,) = compare(pair, tmp_path / "c.html").content["comparisons"]["pairs"]
    assert found["differences"]["macro_auc"]["p_holm"] is None
    assert found["differences"]["brier"]["p"] is not None


def test_the_same_model_twice_is_told(tmp_path: Path) -> None:
    pair = [
        compared_run(tmp_path / name, noise=i, described={"sha256": "ab"})
        for i, name in enumerate("ab")
    ]
    found = compare(pair, tmp_path / "c.html")
    assert "The same weights: a, b." in found.content["notes"]


def test_several_labels_a_image(tmp_path: Path) -> None:
    sets = {"test": {f"f/{i}": f"normal={i % 2};tb={i // 2 % 2}" for i in range(16)}}
    data: Any = {"data": {"labels": {"task": "multilabel"}}, "train": {"method": "standard"}}
    pair = [compared_run(tmp_path / name, sets, noise=i, **data) for i, name in enumerate("ab")]
    found = compare(pair, tmp_path / "c.html")
    assert found.content["task"] == "multilabel"
    (only,) = found.content["comparisons"]["pairs"]
    assert only["differences"]["balanced_accuracy"]["p_holm"] is not None


def test_hostile_names_are_shown_as_names(tmp_path: Path) -> None:
    classes = (HOSTILE, "$\\frac{x")
    sets = {'"><img src=x onerror=alert(1)>': images(8, classes, head="<b>")}
    folders = [
        compared_run(tmp_path / f"run<i>{i}", sets, classes=classes, noise=i, seed=i)
        for i in range(2)
    ]
    found = compare(folders, tmp_path / "c&<u>.html")
    content = found.page.read_text(encoding="utf-8")
    page = Page(content)
    assert HOSTILE not in content
    assert HOSTILE in page.words
    assert not {"script", "i", "u", "img"} & (set(page.tags) - {"img"})
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    addresses = [value for tag, name, value in page.attributes if (tag, name) == ("img", "src")]
    assert all(value.startswith("data:image/") for value in addresses)


@pytest.mark.skipif(
    not (shutil.which("chromium") or shutil.which("chromium-browser")),
    reason="no chromium on this machine",
)
@pytest.mark.slow
@pytest.mark.parametrize("width", [1200, 390])
def test_a_browser_shows_it_and_asks_for_nothing(
    built: ComparisonFiles, tmp_path: Path, width: int
) -> None:
    from tests.report.test_write import seen

    image, asked, console = seen(built.page, tmp_path, width)
    colours = image.getcolors(2**24)
    assert colours is not None
    assert len(colours) > 500
    assert asked == set()
    assert console == []
