"""The runner itself: it finds a folder made here, and fails where that is off."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.golden.tools.folder import ROOT, VARIABLE, Array
from tests.golden.tools.made import (
    MAPS,
    MODES,
    STEPS,
    Network,
    Writer,
    frame,
    loss,
    map_arrays,
    network,
    step_arrays,
    stored,
    train_mode,
)
from tests.golden.tools.made_nets import MADE

KINDS = ("folder", "maps", "gradients", "losses", "alternatives", "metrics")
LITTLE = 1e-6  # of the largest entry: beyond float64's tolerance, within float32's


def run(folder: Path, out: Path, environment: dict[str, str]) -> dict[str, str]:
    """Results ("passed", "failed", "skipped") of the runner's tests by their ids."""
    files = [f"tests/golden/test_golden_{kind}.py" for kind in KINDS]
    command = [sys.executable, "-m", "pytest", "-n0", "-q", "-p", "no:cacheprovider"]
    subprocess.run(
        [*command, f"--junitxml={out}", *files], cwd=ROOT, capture_output=True, check=False,
        env={**environment, VARIABLE: str(folder)}, timeout=250,
    )  # fmt: skip
    results = {}
    for case in ET.parse(out).iter("testcase"):  # noqa: S314 - as above
        found = {child.tag for child in case}
        state = "failed" if found & {"failure", "error"} else "skipped" if found else "passed"
        results[case.attrib["name"]] = state
    return results


def changed(arrays: dict[str, Array], key: str) -> dict[str, Array]:
    """A copy with one entry of one array a little off."""
    other = {k: v.copy() for k, v in arrays.items()}
    other[key].flat[0] += LITTLE * abs(other[key]).max()
    return other


def write_maps(writer: Writer, name: str, n: Network) -> dict[str, Array]:
    arrays = stored(n)
    for family, modes in MODES.items():
        for mode in modes:
            arrays |= map_arrays(n, family, mode)
    writer.case(name, {"description": n.made.description}, arrays, MAPS)
    return arrays


def write_step(
    writer: Writer, name: str, source: str, n: Network, modes: Mapping[str, tuple[str, ...]]
) -> tuple[dict[str, Any], dict[str, Array]]:
    """A training case; `modes` gives the hidden layers of each mode."""
    arrays: dict[str, Array] = {"mask": frame(n).expand(-1, 3, -1, -1).numpy().copy()}
    arrays["labels"], hyper = n.labels.numpy(), {}
    training = n.net.training
    for mode, layers in modes.items():
        hyper[mode], found = step_arrays(n, mode, layers)
        arrays |= found
    meta = {"description": {"source_case": source, "eval_mode": not training, "hyper": hyper}}
    writer.case(name, meta, arrays, STEPS)
    return meta, arrays


def write_losses(writer: Writer, name: str, factor: float = 1.0) -> None:
    g = torch.Generator().manual_seed(5)
    H = torch.randn(2, 2, 3, 6, 5, generator=g, dtype=torch.float64).requires_grad_()
    M = torch.zeros(2, 1, 6, 5, dtype=torch.float64)
    M[:, :, 1:4, 2:] = 1
    p = {"d": 0.8, "E": 2.0, "w1": 1.0, "w2": 2.0, "C1": 3.0, "C2": 9.0}
    each = loss(H, M, p)
    each.mean().backward()  # type: ignore[no-untyped-call]
    assert H.grad is not None
    arrays = {"H": H.detach().numpy(), "M": M.numpy(), "a/dTotal_dH": H.grad.numpy()}
    one = {
        "id": "a", "H": "H", "M": "M", "params": p, "total_f64": each.mean().item() * factor,
        "per_image_f64": each.tolist(), "total_f32": each.mean().item(),
        "gradient_array": "a/dTotal_dH",
    }  # fmt: skip
    writer.case(name, {"cases": [one]}, arrays, {"float64_rel": 1e-10, "float32_rel": 1e-4})


def write_right(writer: Writer) -> dict[str, dict[str, Array]]:
    """Cases that must pass; the arrays of some, to be spoilt elsewhere."""
    kept = {}
    for seed, (name, made) in enumerate(MADE.items()):
        kept[name] = write_maps(writer, name, network(made, seed))
    odd, res = (network(MADE[k], list(MADE).index(k)) for k in ("odd_sequence", "basic_resnet"))
    dual = map_arrays(odd, "block", "dual")
    writer.case("dual", {"description": {"source_case": "odd_sequence"}}, dual, MAPS)
    zb1 = {"block/multiple/e0.01/zb1": (), "flex/selective/e0.01/zb0": ()}
    write_step(writer, "step", "odd_sequence", odd, zb1)
    deep = {"flex/multiple/e0.01/zb1": ("layer1", "layer2", "layer3", "layer4")}
    write_step(writer, "deep", "basic_resnet", res, deep)
    modes: dict[str, tuple[str, ...]] = {
        "block/multiple/e0.01/zb1": (), "flex/multiple/e0.01/zb1": (),
    }  # fmt: skip
    again = train_mode(network(MADE["odd_sequence"], list(MADE).index("odd_sequence")))
    write_step(writer, "train", "odd_sequence", again, modes)
    write_losses(writer, "losses")
    formula = {"C1": 0.8, "C2": 7.0}  # T 1, 4, 7: m 4, s 3, max(0.8, -5) and min(20, 13)
    formula["C2"] = 13.0
    totals = [[1.0, 1.0], [3.0, 5.0], [7.0, 7.0]]
    cuts = {"K2": {"total_abs_relevance": totals, "formula_on_all_classes": formula}}
    writer.case("cuts", {"cases": cuts}, {}, {"rel": 1e-9})
    return kept


@pytest.mark.slow
def test_a_right_folder_passes(tmp_path: Path, child_environment: dict[str, str]) -> None:
    folder = tmp_path / "golden"
    folder.mkdir()
    writer = Writer(folder)
    write_right(writer)
    writer.close()
    results = run(folder, tmp_path / "out.xml", {**child_environment})
    bad = [name for name, state in results.items() if state == "failed"]
    assert bad == []
    skipped = {name for name, state in results.items() if state == "skipped"}
    assert skipped == {
        "test_method[none-float64]",
        "test_method[none-float32]",
        "test_figure[none]",
    }
    maps = [name for name in results if name.startswith("test_map[")]
    # Two precisions and two rules of the first layer for every mode of every network, and dual.
    assert len(maps) == 4 * len(MADE) * sum(map(len, MODES.values())) + 4
    assert "test_map[long_densenet-block/multiple/e1e-2/zb1-float64]" in maps
    assert "test_training_step[train-flex/multiple/e0.01/zb1-float64]" in results
    assert "test_loss[losses-a-float64]" in results
    assert "test_cuts[cuts-K2]" in results


@pytest.mark.slow
def test_what_is_off_fails(tmp_path: Path, child_environment: dict[str, str]) -> None:
    folder = tmp_path / "golden"
    folder.mkdir()
    writer, made = Writer(folder), MADE["plain_sequence"]
    n, key = network(made, 3), "block/multiple/e1e-2/zb1"
    arrays = {**stored(n), **map_arrays(n, "block", "multiple")}
    described = {"description": made.description}
    writer.case("right", described, arrays, MAPS)
    writer.case("map_off", described, changed(arrays, key), MAPS)
    writer.case("logits_off", described, changed(arrays, "logits"), MAPS)
    writer.case("weight_off", described, changed(arrays, "param/0.weight"), MAPS)
    nan = {k: v.copy() for k, v in arrays.items()}
    nan[key].flat[0] = float("nan")
    writer.case("nan_expected", described, nan, MAPS)
    writer.case("other_bytes", described, arrays, MAPS)
    writer.lines[-1]["sha256"] = "0" * 64
    writer.case("unknown_array", described, {**arrays, "blocks/x": arrays["x"]}, MAPS)
    writer.case("unknown_mode", described, {**arrays, "block/new/e1e-2/zb0": arrays[key]}, MAPS)
    layers = [*made.description["layers"][:-1], "Conv3d(5,2)"]
    writer.case("unknown_layer", {"description": {"layers": layers}}, arrays, MAPS)
    writer.case("unknown_case", {"description": "new"}, {"x": arrays["x"]}, MAPS)
    meta, steps = write_step(writer, "step", "right", n, {"flex/multiple/e0.01/zb0": ()})
    weight = "grad/flex/multiple/e0.01/zb0/0.weight"
    writer.case("gradient_off", meta, changed(steps, weight), STEPS)
    meta["description"]["hyper"]["flex/multiple/e0.01/zb0"]["total"] *= 1 + LITTLE
    writer.case("total_off", meta, steps, STEPS)
    write_losses(writer, "loss_off", 1 + LITTLE)
    writer.close()

    results = run(folder, tmp_path / "out.xml", {**child_environment})
    failed = {name for name, state in results.items() if state == "failed"}
    assert not any("[right-" in name or "[step-" in name or "[right]" in name for name in failed)
    pair = {f"test_map[{{}}-block/multiple/e1e-2/zb{zb}-{{}}]" for zb in (0, 1)}
    expected = {
        f"test_map[map_off-{key}-float64]", "test_logits[logits_off-float64]",
        "test_logits[weight_off-float64]", *(p.format("logits_off", "float64") for p in pair),
        *(p.format("weight_off", "float64") for p in pair),
        *(f"test_map[nan_expected-{key}-{p}]" for p in ("float64", "float32")),
        "test_arrays_are_those_of_the_manifest[other_bytes]",
        "test_every_case_has_a_reading[unknown_array]",
        "test_every_case_has_a_reading[unknown_mode]",
        *(f"test_map[unknown_array-blocks/x-{p}]" for p in ("float64", "float32")),
        *(f"test_map[unknown_mode-block/new/e1e-2/zb0-{p}]" for p in ("float64", "float32")),
        *(p.format("unknown_layer", q) for p in pair for q in ("float64", "float32")),
        *(f"test_logits[unknown_layer-{p}]" for p in ("float64", "float32")),
        "test_every_case_has_a_reading[unknown_case]",
        "test_every_case_compares_something[unknown_case]",
        "test_training_step[gradient_off-flex/multiple/e0.01/zb0-float64]",
        "test_training_step[total_off-flex/multiple/e0.01/zb0-float64]",
        "test_loss[loss_off-a-float64]",
    }  # fmt: skip
    assert failed == expected


@pytest.mark.slow
def test_an_absent_folder_is_skipped_with_its_name(
    tmp_path: Path, child_environment: dict[str, str]
) -> None:
    command = [sys.executable, "-m", "pytest", "-n0", "-q", "-rs", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "tests/golden/test_golden_maps.py"], cwd=ROOT, capture_output=True, text=True,
        check=False, env={**child_environment, VARIABLE: str(tmp_path / "nowhere")}, timeout=250,
    )  # fmt: skip
    assert done.returncode == 0
    assert "nowhere is absent" in done.stdout
    assert VARIABLE in done.stdout


def test_the_default_is_beside_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.golden.tools.folder import folder

    monkeypatch.delenv(VARIABLE, raising=False)
    assert folder() == ROOT.parent / "shared" / "golden"
    monkeypatch.setitem(os.environ, VARIABLE, "/elsewhere")
    assert folder() == Path("/elsewhere")
