"""Cards of a run: what their readers demand, what they know, and what they must not say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from isnet_cli.cards.atlas import METRICS, SCHEMA
from isnet_cli.cards.claim import ITEMS, MORE, STATE
from isnet_cli.cards.facts import SCORES
from tests.cli.factory import isnet
from tests.support.trained import TrainedRun

LINK = "https://example.org/model"
# Transcribed from RSNA/ATLAS, model.json, version 2025-11: keys of each object (all of them are
# closed), those that are required, and what is a text; words of lists are in WORDS and below.
OBJECTS: dict[str, set[str]] = {
    "": {"$schema", "Model"},
    "Model": {
        *("Name", "Link", "Indexing", "Descriptors", "Model properties", "Imaging"),
        "Model performance",
    },
    "Indexing": {"Content", "RadLex", "SNOMED", "Keywords"},
    "Descriptors": {
        *("Authors", "Comments", "Contact", "Date", "Ethical review", "Funding", "License"),
        *("Organizations", "References", "Version"),
    },
    "Model properties": {
        *("Architecture", "Availability", "Clinical benefit", "Clinical workflow phase"),
        *("Decision threshold", "Degree of automation", "Indications for use", "Input"),
        *("Instructions", "Limitations", "Output", "Recommendation", "Regulatory information"),
        *("Reproducibility", "Sustainability", "Use", "User"),
    },
    "Output": {"Description", "CDEs"},
    "Regulatory information": {
        *("FDA cleared", "CE marked", "Predicate device", "Authorization status", "File number"),
        "Comment",
    },
    "Use": {"Intended", "Out-of-scope", "Excluded"},
    "User": {"Intended", "Out-of-scope", "Excluded"},
    "Imaging": {"Modalities", "Procedures", "File format", "Resolution", "Comments"},
    "Model performance": {"Metrics", "Comments"},
}
REQUIRED = {"": {"$schema", "Model"}, "Model": {"Name", "Link"}}
LISTS = {
    "Content": {"CH"}, "Modalities": {"Projection radiography (RID10345)"},
    "File format": {"DICOM", "JPEG", "NiFTI", "PNG", "Other"},
}  # fmt: skip
WORDS = {
    *("AUC of each class vs. the rest combined", "macro-F1", "macro-recall", "specificity"),
    "accuracy",
}


def card(run: TrainedRun, name: str, *words: str) -> str:
    done = isnet("card", run.path, "--format", name, *words)
    assert done.code == 0, done.err
    return done.out


def check_schema(found: dict[str, Any], name: str = "") -> None:
    """Refuses what the transcribed schema does: other keys, missing ones, other kinds of values."""
    assert REQUIRED.get(name, set()) <= set(found) <= OBJECTS[name], name
    for key, value in found.items():
        if isinstance(value, dict):
            check_schema(value, key)
        elif isinstance(value, list):
            assert value, key
            assert len(set(value)) == len(value), key
            assert all(isinstance(one, str) for one in value), key
            assert set(value) <= LISTS.get(key, set(value)), key
        else:
            assert isinstance(value, str), key


def test_the_atlas_card_is_as_the_schema_says(finished_run: TrainedRun) -> None:
    found = json.loads(card(finished_run, "atlas", "--link", LINK))
    assert found["$schema"] == SCHEMA
    model = found["Model"]
    check_schema(found)
    assert 4 <= len(model["Name"]) <= 256
    assert all(2 <= len(word) <= 64 for word in model["Indexing"]["Keywords"])
    assert model["Link"] == LINK
    assert set(model["Model performance"]["Metrics"]) <= WORDS == set(METRICS.values())
    assert set(METRICS) == set(SCORES)
    assert model["Imaging"]["File format"] == ["PNG"]
    for place in ("Use", "User"):
        for texts in model["Model properties"][place].values():
            assert all(4 <= len(text) <= 64 for text in texts)
    scores = (finished_run.path / "evaluate/metrics.json").read_text(encoding="utf-8")
    auc = json.loads(scores)["sets"]["test"]["standard"]["macro"]["auc"]
    assert f"macro AUC {auc:.3f}" in model["Model performance"]["Comments"]


@pytest.mark.parametrize("words", [(), ("--link", "somewhere")])
def test_atlas_wants_a_link(finished_run: TrainedRun, words: tuple[str, ...]) -> None:
    done = isnet("card", finished_run.path, "--format", "atlas", *words)
    assert (done.code, "--link" in done.err) == (2, True)


def test_the_head_for_hugging_face_is_yaml_with_the_scores(finished_run: TrainedRun) -> None:
    text = card(finished_run, "huggingface")
    _, head, body = text.split("---\n", 2)
    found: dict[str, Any] = yaml.safe_load(head)
    assert found["library_name"] == "isnet"
    (entry,) = found["model-index"]
    assert [one["dataset"]["name"] for one in entry["results"]] == ["test"]
    assert {one["type"] for one in entry["results"][0]["metrics"]} <= {
        "roc_auc", "f1", "recall", "accuracy"
    }  # fmt: skip
    assert "| train | 12 images, 12 patients; " in body
    assert "Authors must state" in body


def test_the_check_list_has_every_item_once_and_invents_nothing(finished_run: TrainedRun) -> None:
    text = card(finished_run, "claim")
    lines = re.findall(r"^\| (\d+) \| .* \| (.*) \|$", text, re.M)
    assert [int(number) for number, _ in lines] == list(ITEMS) == list(range(1, 45))
    answers = {int(number): answer for number, answer in lines}
    for number in (1, 2, 3, 4, 5, 10, 14, 15, 16, 17, 18, 21, 34, 39, 42, 44):
        assert answers[number] == STATE
    assert "random weights" in answers[24]
    assert answers[32] == "test"
    assert answers[33] == STATE  # the test set has the sources of training
    assert "macro AUC" in answers[37]
    more = re.findall(r"^\| \u2013 \| (\w+) \| .* \| (.*) \|$", text, re.M)
    assert [item for item, _ in more] == list(MORE)
    assert dict(more)["13"] == "class_weights none, sampler shuffle"
    assert dict(more)["17"] == STATE


def test_a_run_without_scores_has_a_card_without_scores(isnet_run: TrainedRun) -> None:
    assert "model-index" not in card(isnet_run, "huggingface")
    assert "Model performance" not in json.loads(card(isnet_run, "atlas", "--link", LINK))["Model"]


@pytest.mark.parametrize("name", ["atlas", "huggingface", "claim"])
def test_no_path_and_no_patient_is_in_a_card(
    finished_run: TrainedRun, name: str, tmp_path: Path
) -> None:
    text = card(finished_run, name, "--link", LINK)
    assert str(finished_run.inputs) not in text
    manifest = (finished_run.path / "ingest/manifest.csv").read_text(encoding="utf-8")
    pseudonyms = set(re.findall(r"\b[0-9a-f]{12}\b", manifest))
    assert pseudonyms
    assert not [one for one in pseudonyms if one in text]
    assert not re.search(r"\bx\d\d\b", text)  # a file's name


def test_files_are_written_once(finished_run: TrainedRun, tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    done = isnet("card", finished_run.path, "-o", path)
    assert (done.code, done.out.strip()) == (0, str(path))
    assert path.read_text(encoding="utf-8").startswith("---\n")
    assert isnet("card", finished_run.path, "-o", path).code == 2
    assert isnet("card", finished_run.path, "-o", path, "--overwrite").code == 0
    assert isnet("card", finished_run.path, "-o", "-").out == path.read_text(encoding="utf-8")


def test_unknown_forms_and_untrained_runs(finished_run: TrainedRun, tmp_path: Path) -> None:
    assert isnet("card", finished_run.path, "--format", "pdf").code == 2
    assert isnet("card", tmp_path).code == 5
