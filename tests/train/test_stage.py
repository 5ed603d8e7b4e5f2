"""The train stage: learns, continues exactly, refuses what cannot work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from isnet_cli.core.files import read_csv
from isnet_cli.core.pipeline import run_stage
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.training_loop import CHECKPOINT
from isnet_cli.errors import IsnetError
from isnet_cli.evaluate import stage as evaluate
from isnet_cli.inference.model_files import load_model
from isnet_cli.stats.scores import THRESHOLD_RULE
from isnet_cli.train import stage as train
from isnet_models.methods.standard import Standard
from tests.support.runs import Stopper, make_run, small_config
from tests.support.trained import TrainedRun


def _weights(path: Path) -> dict[str, torch.Tensor]:
    return load_model(path, torch.device("cpu")).net.state_dict()


def _same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("method", ["standard", "isnet"])
def test_trains_and_writes_a_model_with_card_and_history(
    request: pytest.FixtureRequest, method: str
) -> None:
    path = request.getfixturevalue(f"{method}_run").path
    model = load_model(path, torch.device("cpu"))
    assert model.card["classes"] == ["sick", "well"]
    assert model.card["method"] == method
    assert not model.net.training
    history = read_csv(path / "train" / "history.csv")
    assert [row["epoch"] for row in history] == ["1", "2"]
    assert ("train_heatmap" in history[0]) == (method == "isnet")
    assert 0 <= float(history[-1]["val_auc"]) <= 1
    assert 0 <= float(history[-1]["val_swapped_auc"]) <= 1


def test_second_identical_run_does_no_work(tmp_path: Path, isnet_run: TrainedRun) -> None:
    run = isnet_run.copy(tmp_path / "run")
    before = {p: p.stat().st_mtime_ns for p in (run.path / "train").iterdir()}
    assert run_stage(train, run.config, run.folder, RunContext()).status == "current"
    assert {p: p.stat().st_mtime_ns for p in (run.path / "train").iterdir()} == before


CHANCY = small_config(
    train={"method": "isnet", "epochs": 2, "settings": {"isnet": {"variant": "stochastic"}}},
    model={"arch": "small", "input": [32, 32], "dropout": 0.3},
)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_run(tmp_path_factory.mktemp("whole") / "run")
    run_stage(train, CHANCY, folder, RunContext())
    return folder.path


@pytest.mark.parametrize(
    "stop_after",  # in the estimate of the range; late in the first epoch; in the second
    [1, pytest.param(10, marks=pytest.mark.slow), pytest.param(11, marks=pytest.mark.slow), 14],
)
def test_interrupted_and_continued_equals_uninterrupted(
    tmp_path: Path, uninterrupted: Path, stop_after: int
) -> None:
    parts = make_run(tmp_path / "parts")
    stopped = run_stage(train, CHANCY, parts, RunContext(stop_requested=Stopper(stop_after)))
    assert stopped.status == "incomplete"
    torch.rand(7)  # the outer random state must not matter
    assert run_stage(train, CHANCY, parts, RunContext()).status == "done"
    assert _same(_weights(uninterrupted), _weights(parts.path))
    clocks = ("seconds", "images_per_second")
    a, b = (
        [
            {k: v for k, v in row.items() if k not in clocks}
            for row in read_csv(path / "train" / "history.csv")
        ]
        for path in (uninterrupted, parts.path)
    )
    assert a == b


def test_another_setting_does_not_continue_the_old_checkpoint(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    plain = {"method": "standard"}  # three steps an epoch: it stops in the second
    run_stage(train, small_config(train=plain), folder, RunContext(stop_requested=Stopper(4)))
    assert (folder.path / "train" / CHECKPOINT).is_file()
    said: list[str] = []
    run_stage(train, small_config(seed=1, train=plain), folder, RunContext(say=said.append))
    assert not any("continuing" in line for line in said)


def test_training_lowers_the_loss_and_learns_the_spot(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", sets={"train": 24, "val": 8})
    still = {"rotate": 0.0, "translate": 0.0, "scale": 0.0, "contrast": 0.0, "brightness": 0.0}
    settings = {
        "method": "standard", "epochs": 12, "batch_size": 8, "select": "auc", "augment": still,
        "optimizer": {"name": "adamw", "lr": 2e-3},
    }  # fmt: skip
    config = small_config(train=settings)
    run_stage(train, config, folder, RunContext())
    history = read_csv(folder.path / "train" / "history.csv")
    assert float(history[-1]["train_loss"]) < 0.5 * float(history[0]["train_loss"])
    assert max(float(r["val_auc"]) for r in history) >= 0.9


def test_multilabel_with_missing_labels(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", multilabel=True)
    config = small_config(
        data={"labels": {"task": "multilabel"}},
        train={
            "class_weights": "balanced",
            "epochs": 1,
            "settings": {"isnet": {"range_epochs": 1}},
        },
    )
    assert run_stage(train, config, folder, RunContext()).status == "done"
    card = json.loads((folder.path / "train" / "model.json").read_text())
    assert card["classes"] == ["old", "sick"]
    assert len(card["thresholds"]) == 2
    rule = card["threshold_rule"]
    assert rule["rule"] == THRESHOLD_RULE
    # The stored threshold gives the stored F1 on the validation images, as evaluate sees them.
    outcome = run_stage(
        evaluate,
        small_config(data={"labels": {"task": "multilabel"}}, evaluate={"sets": ["val"]}),
        folder,
        RunContext(),
    )
    assert outcome.status == "done"
    metrics = json.loads((folder.path / "evaluate" / "metrics.json").read_text())
    assert metrics["thresholds"] == card["thresholds"]
    per_class = metrics["sets"]["val"]["standard"]["per_class"]
    assert rule["f1"]
    for name, f1 in rule["f1"].items():
        assert per_class[name]["f1"] == pytest.approx(f1)


def test_the_fingerprint_of_several_labels_is_their_own(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", multilabel=True)
    config = small_config(data={"labels": {"task": "multilabel"}})
    before = train.fingerprint(config, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "LABELS_FORMAT", 99)
        assert train.fingerprint(config, folder) != before
        single = train.fingerprint(small_config(), folder)
    assert train.fingerprint(small_config(), folder) == single


def test_a_method_s_new_form_outdates_its_models_alone(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    configs = [small_config(train={"method": name}) for name in ("standard", "isnet")]
    before = [train.fingerprint(config, folder) for config in configs]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Standard, "form", 2)
        after = [train.fingerprint(config, folder) for config in configs]
    assert [a == b for a, b in zip(before, after, strict=True)] == [False, True]


@pytest.mark.parametrize(
    ("sections", "kind", "words"),
    [
        ({"train": {"method": "isnett"}}, "config", "did you mean 'isnet'"),
        ({"model": {"arch": "resnet81"}}, "config", "did you mean resnet18"),
        ({"train": {"settings": {"isnet": {"layers": ["layer9"]}}}}, "config", "no such modules"),
        ({"train": {"class_weights": [1.0]}}, "config", "1 weights, expected 2"),
        ({"model": {"pretrained": "nowhere.safetensors"}}, "weights", "no such file"),
        ({"machine": {"device": "cuda:7"}}, "machine", "not on this machine"),
        ({"data": {"labels": {"classes": ["normal", "ill"]}}}, "data", "sick is not among"),
    ],
)
def test_refusals_name_the_fault(tmp_path: Path, sections: dict, kind: str, words: str) -> None:
    folder = make_run(tmp_path / "run")
    with pytest.raises(IsnetError) as caught:
        run_stage(train, small_config(**sections), folder, RunContext())
    assert caught.value.kind == kind
    assert words in caught.value.message
    assert caught.value.fix


@pytest.mark.parametrize(
    "method",
    [
        pytest.param("rrr", marks=pytest.mark.slow),
        "gain",
        "softmax_grad_input",
        pytest.param("ham", marks=pytest.mark.slow),
    ],
)
def test_methods_of_attention_train_and_load(tmp_path: Path, method: str) -> None:
    folder = make_run(tmp_path / "run", sets={"train": 8, "val": 4})
    config = small_config(
        model={"arch": "small", "input": [64, 64]}, train={"method": method, "epochs": 1}
    )
    assert run_stage(train, config, folder, RunContext()).status == "done"
    model = load_model(folder.path, torch.device("cpu"))
    assert model.card["method"] == method
    assert model.net(torch.zeros(1, 1, 64, 64)).shape == (1, 2)
    (row,) = read_csv(folder.path / "train" / "history.csv")
    assert 0 <= float(row["train_mapped"]) <= 1
    assert bool(model.card["heatmap"]["relevance_range"]) == (method == "softmax_grad_input")


def test_divergence_is_an_error_not_a_model(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    config = small_config(
        train={"method": "standard", "clip_norm": 0.0, "optimizer": {"lr": 1e30}, "epochs": 4}
    )
    with pytest.raises(IsnetError, match=r"diverged|not finite"):
        run_stage(train, config, folder, RunContext())


def test_global_random_state_is_left_alone(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", sets={"train": 4, "val": 2})
    before = torch.get_rng_state()
    config = small_config(train={"epochs": 1, "settings": {"isnet": {"range_epochs": 1}}})
    run_stage(train, config, folder, RunContext())
    assert torch.equal(before, torch.get_rng_state())
