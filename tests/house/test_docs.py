"""The pages under docs/ say what the program does: keys, defaults, options, codes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from isnet_cli.benchmark.cells import make_grid
from isnet_cli.config.benchmark import Benchmark, Phantoms, is_benchmark, load_benchmark
from isnet_cli.config.load import load, plain
from isnet_cli.config.schema import Columns, Config, ImageSet, Labels
from isnet_cli.config.segmenter import Segmenter, load_segmenter
from isnet_cli.config.yaml_tree import parse
from isnet_cli.core.run_folder import STAGES
from tests.cli.factory import isnet
from tests.cli.test_app import SHORT, SURFACE
from tests.house.rules import ROOT

PAGES = [*(ROOT / "docs").glob("*.md"), ROOT / "models/README.md", *ROOT.glob("*.md")]
CONFIGURATION = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
CLI = (ROOT / "docs/cli.md").read_text(encoding="utf-8")


def documented() -> dict[str, Any]:
    """Key -> default, from the tables."""
    found: dict[str, Any] = {}  # settings of methods stand in docs/methods.md
    section = ""
    for line in CONFIGURATION.splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ").strip("`").replace("Top level", "")
        row = re.match(r"\| `(\w+)` \| `(.*?)` \| (.+) \|$", line)
        if row:
            found[f"{section}.{row[1]}".strip(".")] = parse(f"x: {row[2]}").value["x"]
    return found


def defaults(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            found |= defaults(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def test_every_key_and_default_is_documented_and_no_other() -> None:
    expected = defaults(plain(Config()))
    expected = {k: v for k, v in expected.items() if not k.startswith("train.settings.")}
    expected |= {f"data.sets.NAME.{name}": None for name in ImageSet.model_fields}
    expected |= {f"data.collections.NAME.{name}": None for name in ("labels", "columns")}
    assert documented() == expected


def test_sections_named_for_sets_exist() -> None:
    assert "`data.labels`" in CONFIGURATION
    assert set(Labels.model_fields) <= {key.split(".")[-1] for key in documented()}
    assert set(Columns.model_fields) <= {key.split(".")[-1] for key in documented()}


@pytest.mark.parametrize("text", re.findall(r"```yaml\n(.*?)```", CONFIGURATION, re.DOTALL))
def test_examples_load(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text, encoding="utf-8")
    assert load(path).version == 1


@pytest.mark.parametrize("verb", SURFACE)
def test_every_option_is_documented(verb: str) -> None:
    assert f"| `{verb}" in CLI
    missing = [name for name in SURFACE[verb] if name.startswith("--") and f"`{name}" not in CLI]
    assert missing == []


def test_no_option_is_documented_that_does_not_exist() -> None:
    every = set.union(*SURFACE.values(), SHORT) | {"--version", "--install-completion", "-vv"}
    assert set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", CLI)) - every == set()


def test_every_exit_code_is_documented() -> None:
    table = CLI.partition("## Exit codes")[2].partition("## Messages")[0]
    codes = {
        int(n) for cell in re.findall(r"^\| ([\d, ]+) \|", table, re.M) for n in cell.split(",")
    }
    assert codes == {0, 1, 2, 3, 4, 5, 6, 7, 130, 143}


def test_every_stage_has_its_line_in_the_run_folder() -> None:
    tree = CLI.partition("## The run folder")[2]
    assert [name for name in STAGES if f"\n  {name}/" not in tree] == []


def test_short_forms_of_the_page_are_accepted_words() -> None:
    """Each example names options that its verb has; run with --help, which parses nothing else."""
    examples = re.findall(r"^isnet ([a-z]+) (.*)$", CLI, re.M)
    assert len(examples) >= 5
    for verb, rest in examples:
        options = set(re.findall(r"--[a-z-]+", rest))
        assert options <= SURFACE[verb], (verb, options)
        assert isnet(verb, "--help").code == 0


@pytest.mark.parametrize("path", sorted((ROOT / "sample_configs").glob("*.yaml")), ids=str)
def test_sample_configurations_load(path: Path) -> None:
    if is_benchmark(path):
        bench = load_benchmark(path)
        assert make_grid(bench, path, Path("out")).cells
        return
    own = load_segmenter if path.stem.startswith("lung_unet") else load
    assert own(path).version == 1


def test_every_key_of_a_benchmark_is_documented_with_its_default() -> None:
    page = (ROOT / "docs/benchmark.md").read_text(encoding="utf-8")
    kept = {"phantoms": plain(Phantoms()), "data": {}}
    expected = defaults({**plain(Benchmark()), **kept})
    found = {
        row[1]: parse(f"x: {row[2]}").value["x"]
        for row in re.finditer(r"^\| `([\w.]+)` \| `(.*?)` \| .+ \|$", page, re.MULTILINE)
    }
    assert found == expected


@pytest.mark.parametrize(
    "text",
    re.findall(
        r"```yaml\n(version: 1\n.*?)```",
        (ROOT / "docs/benchmark.md").read_text(encoding="utf-8"),
        re.DOTALL,
    ),
)
def test_examples_of_benchmarks_load(text: str, tmp_path: Path) -> None:
    (tmp_path / "tb_shapes.yaml").write_text((ROOT / "sample_configs/tb_shapes.yaml").read_text())
    path = tmp_path / "b.yaml"
    path.write_text(text, encoding="utf-8")
    assert make_grid(load_benchmark(path), path, tmp_path).cells


def test_every_key_of_the_segmenters_training_is_documented_with_its_default() -> None:
    page = (ROOT / "docs/lung_unet.md").read_text(encoding="utf-8")
    expected = defaults(plain(Segmenter()))
    shared = {key for key in expected if key.startswith(("machine.", "limits.", "data.dicom."))}
    found = {
        row[1]: parse(f"x: {row[2]}").value["x"]
        for row in re.finditer(r"^\| `([\w.]+)` \| `(.*?)` \| .+ \|$", page, re.MULTILINE)
    }
    assert found == {key: value for key, value in expected.items() if key not in shared}


def links(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    return [target for target in re.findall(r"\]\(([^)#:]+)\)", text) if "://" not in target]


@pytest.mark.parametrize(
    "page",
    sorted(str(path.relative_to(ROOT)) for path in PAGES),
)
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    assert [link for link in links(path) if not (path.parent / link).exists()] == []


def test_the_example_of_the_readme_runs() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)  # noqa: S102 - our own page
    assert names["maps"].shape == (4, 1, 1, 64, 64)


def find_commands() -> list[tuple[str, str, str]]:
    """Page, verb and rest of every command between backticks or in a block of shell lines."""
    found = []
    for page in sorted(PAGES):
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for line in re.findall(r"^ *isnet +([a-z].*)$|`isnet ([^`]+)`", text, re.MULTILINE):
            words = "".join(line).partition("   #")[0].strip()
            verb = re.match(r"masks train\b|[a-z]+", words)
            if verb:
                found.append((page.name, verb[0], words[len(verb[0]) :]))
    return found


@pytest.mark.parametrize(("page", "verb", "rest"), find_commands())
def test_every_command_on_every_page_is_one(
    page: str, verb: str, rest: str, tmp_path: Path
) -> None:
    options = set(re.findall(r"(?<=\s)--[a-z][a-z-]*", rest))
    assert options <= SURFACE[verb], page
    pairs = [a or b for a, b in re.findall(r"--set\s(?:'([^']+)'|(\S+))", rest)]
    pairs = [pair for pair in pairs if pair != "KEY=VALUE" and "mirror" not in pair]
    if verb == "masks train":
        (tmp_path / "a.yaml").write_text("data: {images: a, masks: b}")
        load_segmenter(tmp_path / "a.yaml", pairs)
    else:
        load(ROOT / "sample_configs/tb_shapes.yaml", pairs)
