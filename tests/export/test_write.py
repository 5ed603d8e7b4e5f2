"""`isnet export`: what is written, that it answers as torch does, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from isnet_cli.core.files import read_csv
from isnet_cli.errors import IsnetError
from isnet_cli.export import write
from isnet_cli.export.geometry import IMAGE, MAP, write_letterbox, write_way_back
from isnet_cli.export.network import Answer, export_network, find_camera, join
from isnet_cli.images.resize import Frame
from isnet_cli.inference import onnx_model
from isnet_cli.inference.onnx_model import open_onnx
from isnet_models.explanations.gradcam import grad_cam
from isnet_models.methods.base import NetSpec
from isnet_models.methods.standard import Standard
from tests.cli.factory import isnet
from tests.support.trained import TrainedRun

QUIET = ("--no-progress", "-d", "cpu", "-j", "0")


@pytest.fixture(scope="module")
def exported(
    isnet_run: TrainedRun, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """The shared run's model as a file; what the command said."""
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    done = isnet("export", isnet_run.path, "--onnx", path, "--json")
    assert done.code == 0, done.err
    return path, done.document


def test_the_films_of_the_run_were_compared(exported: tuple[Path, dict[str, Any]]) -> None:
    path, said = exported
    assert (said["films"], said["synthetic"]) == (24, False)
    assert said["max_difference"] <= 1e-4
    assert said["bytes"] == path.stat().st_size
    assert said["outputs"] == ["logits", "probabilities", "features"]


def test_the_file_has_the_card_and_any_batch(
    exported: tuple[Path, dict[str, Any]], isnet_run: TrainedRun
) -> None:
    model = open_onnx(exported[0])
    card = json.loads((isnet_run.path / "train/model.json").read_text(encoding="utf-8"))
    assert model.card == card
    facts = {entry.key: entry.value for entry in onnx.load(exported[0]).metadata_props}
    assert facts["isnet.sha256"] == card["sha256"]
    images = np.random.default_rng(0).random((5, 50, 70), dtype=np.float32)
    together, alone = model.run(images), model.run(images[3:4])
    for name, size in {"logits": (2,), "probabilities": (2,), "features": (192,)}.items():
        assert together[name].shape == (5, *size)
        assert np.abs(together[name][3] - alone[name][0]).max() < 1e-5
    assert together["probabilities"].sum(axis=1) == pytest.approx(1)


def make_net(arch: str) -> torch.nn.Module:
    torch.manual_seed(0)
    spec = NetSpec(arch=arch, classes=3, channels=1, dropout=0.0, size=(64, 64))
    return Standard.build(spec).eval()


def test_the_map_is_grad_cam_of_the_predicted_class() -> None:
    net, pixels = make_net("small"), torch.rand(2, 1, 64, 64)
    answer = Answer(net, several=False, with_features=False, camera=find_camera(net, pixels)).eval()
    parts = {
        "letterbox": write_letterbox(64, 64, 1),
        "network": export_network(answer, pixels),
        "way_back": write_way_back(64, 64, MAP),
    }
    model = join(parts, [IMAGE], ["logits", MAP])
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    images = np.random.default_rng(1).random((3, 90, 50), dtype=np.float32)
    logits, maps = session.run(None, {IMAGE: images})
    frame = Frame((90, 50), (64, 64))
    boxed = torch.from_numpy(np.stack([frame.to_network(one) for one in images]))[:, None]
    expected = grad_cam(net, boxed, "predicted")
    assert np.abs(logits - expected.logits.numpy()).max() < 1e-4
    whole = np.stack([frame.to_original(one) for one in expected.maps[:, 0, 0].numpy()])
    assert maps.shape == (3, 90, 50)
    assert np.abs(maps - whole).max() <= 1e-3 * whole.max()


def test_a_network_with_more_behind_its_map_has_no_closed_form() -> None:
    with pytest.raises(IsnetError, match="last feature map"):
        find_camera(make_net("mobilenet_v3_small"), torch.rand(2, 1, 64, 64))


def test_prediction_without_torch_is_the_one_with_it(
    exported: tuple[Path, dict[str, Any]], isnet_run: TrainedRun, tmp_path: Path
) -> None:
    images = isnet_run.inputs / "xrays"
    words = ["predict", images, "--model", exported[0], "-o", tmp_path / "a", *QUIET]
    words = [str(word) for word in words]
    code = (
        "import sys; from isnet_cli.cli.app import main; "
        f"code = main({words!r}); "
        "sys.exit(code or 100 * ('torch' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    other = isnet("predict", images, "--model", isnet_run.path, "-o", tmp_path / "b", *QUIET)
    assert other.code in (0, 7), other.err
    one, two = (read_csv(tmp_path / x / "predict/predictions.csv") for x in "ab")
    assert [line["key"] for line in one] == [line["key"] for line in two]
    for a, b in zip(one, two, strict=True):
        assert a["predicted"] == b["predicted"]
        assert float(a["p_sick"]) == pytest.approx(float(b["p_sick"]), abs=1e-4)
        assert a["flag_mask"] == ""
        assert (a["flag_ood"], a["flag_margin"]) == (b["flag_ood"], b["flag_margin"])


def test_labels_that_do_not_exclude_each_other(multilabel_run: TrainedRun, tmp_path: Path) -> None:
    done = isnet("export", multilabel_run.path, "--onnx", tmp_path / "m.onnx")
    assert done.code == 0, done.err
    found = open_onnx(tmp_path / "m.onnx").run(np.zeros((1, 40, 40), np.float32))
    assert found["probabilities"] == pytest.approx(1 / (1 + np.exp(-found["logits"])), abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", [(), ("lung-unet-open",)])
def test_the_lung_unet(name: tuple[str, ...], tmp_path: Path) -> None:
    done = isnet("export", *name, "--lung-unet", "--onnx", tmp_path / "lungs.onnx", "--json")
    assert done.code == 0, done.err
    assert done.document["outputs"] == ["lungs"]
    assert done.document["max_difference"] <= 1e-4
    again = isnet("predict", tmp_path, "--model", tmp_path / "lungs.onnx")
    assert again.code == 5
    assert "lung-unet" in again.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "nothing to write"),
        (("RUN", "--onnx", "model.pt"), "ends with .onnx"),
        (("--onnx", "a.onnx"), "no model to export"),
        (("RUN", "--onnx", "a.onnx", "--heatmap", "lrp"), "expected gradcam"),
        (("--lung-unet", "--onnx", "a.onnx", "--heatmap", "gradcam"), "no such map"),
        (("RUN", "--onnx", "there.onnx"), "there already"),
    ],
)
def test_words_that_do_not_go_together(
    words: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.onnx").write_bytes(b"")
    done = isnet("export", *words)
    assert (done.code, said in done.err) == (2, True), done.err


def test_a_graph_that_answers_otherwise_is_not_written(
    isnet_run: TrainedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "LARGEST", -1.0)
    done = isnet("export", isnet_run.path, "--onnx", tmp_path / "a.onnx")
    assert done.code == 6
    assert "differ from torch's" in done.err
    assert not list(tmp_path.glob("*.onnx"))


def test_standardised_models_are_refused(isnet_run: TrainedRun, tmp_path: Path) -> None:
    for name in ("model.safetensors", "model.json"):
        (tmp_path / name).write_bytes((isnet_run.path / "train" / name).read_bytes())
    card = json.loads((tmp_path / "model.json").read_text(encoding="utf-8"))
    (tmp_path / "model.json").write_text(json.dumps({**card, "standardise": "bands"}))
    done = isnet("export", tmp_path, "--onnx", tmp_path / "a.onnx")
    assert done.code == 3
    assert "standardise: bands" in done.err


def test_without_the_extra_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for words in (("export", "RUN", "--onnx", "a.onnx"), ("predict", ".", "--model", "a.onnx")):
        monkeypatch.chdir(tmp_path)
        done = isnet(*words)
        assert (done.code, "pip install 'isnet[onnx]'" in done.err) == (2, True), done.err


@pytest.mark.parametrize("content", [b"", b"no model", None])
def test_files_that_are_no_model_of_ours(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    if content is None:
        node = onnx.helper.make_node("Identity", ["image"], ["logits"])
        value = [
            onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1])
            for n in ("image", "logits")
        ]
        graph = onnx.helper.make_graph([node], "g", value[:1], value[1:])
        content = onnx.helper.make_model(
            graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10
        ).SerializeToString()
    path.write_bytes(content)
    with pytest.raises(IsnetError) as caught:
        open_onnx(path)
    assert caught.value.kind == "weights"


def test_metadata_of_another_version_are_refused(
    exported: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_model, "VERSION", "2")
    with pytest.raises(IsnetError, match="format 1"):
        open_onnx(exported[0])
