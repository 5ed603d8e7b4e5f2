"""What a run knows about its model and its data, in words that every form uses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from isnet_cli.core.records.facts import TABLE, read_facts
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.errors import IsnetError
from isnet_cli.report.results import Cohort, RunResults, find_cell, read_cohort, read_run
from isnet_cli.report.wording import format_interval
from isnet_cli.stats.scores import THRESHOLD_RULE
from isnet_models.methods import registry

SCORES = {
    "macro AUC": ("macro", "auc"),
    "macro F1": ("macro", "f1"),
    "macro recall": ("macro", "recall"),
    "macro specificity": ("macro", "specificity"),
    "accuracy": ("accuracy",),
}
USE = "Research only; not a medical device, not validated for clinical use."
LIMITS = (
    "Scores hold for images like those it was tested on; other hospitals, devices, ages and"
    " diseases were not seen unless a test set says so.",
    "A relevance map explains the classifier, not the disease.",
    "If the lungs themselves show the hospital, no background method removes that.",
)


@dataclass(frozen=True)
class RunFacts:
    """A run, read.

    Attributes:
        run: Its results.
        cohort: Its images.
        groups: Key -> coarse facts of an image; empty where none are kept.
    """

    run: RunResults
    cohort: Cohort
    groups: Mapping[str, Mapping[str, str]]

    @property
    def card(self) -> Mapping[str, Any]:
        """``model.json``."""
        return self.run.card

    @property
    def method(self) -> str:
        """The training method in a sentence, with its source."""
        parts = registry.parts(str(self.card["method"]))
        words = [part.summary + (f" ({part.source})" if part.source else "") for part in parts]
        return f"{self.card['method']}: {'; '.join(words)}"

    @property
    def architecture(self) -> str:
        """The network in a sentence."""
        card = self.card
        size = " x ".join(map(str, card["input"]))
        count = f"{card['parameters'] / 1e6:.1f} million parameters" if "parameters" in card else ""
        lungs = "a lung U-Net inside" if card.get("segmenter") else ""
        words = [f"{card['arch']}, input {size} px, {card['channels']} channel(s)", count, lungs]
        return ", ".join(filter(None, words))

    @property
    def output(self) -> str:
        """What the model gives."""
        names = ", ".join(self.card["classes"])
        kind = "one of the classes" if self.card["task"] == "multiclass" else "each finding"
        return f"probability of {kind}: {names}"

    @property
    def threshold(self) -> str:
        """How a probability becomes a decision."""
        if self.card["task"] == "multiclass":
            return "the most probable class"
        pairs = zip(self.card["classes"], self.card["thresholds"], strict=True)
        cuts = ", ".join(f"{name} {value:.3f}" for name, value in pairs)
        return f"{THRESHOLD_RULE}: {cuts}"

    @property
    def start(self) -> str:
        """What the weights were before training."""
        found = self.card.get("pretrained")
        return f"weights of {found['file']}" if found else "random weights"

    def sets(self) -> list[tuple[str, list[Mapping[str, str]]]]:
        """Usable images of each set, train and val first."""
        of: dict[str, list[Mapping[str, str]]] = {}
        for row in self.cohort.images:
            if row["set"]:
                of.setdefault(row["set"], []).append(row)
        order = ["train", "val"]
        return sorted(of.items(), key=lambda x: (x[0] not in order, x[0] != "train", x[0]))

    def describe_set(self, rows: Sequence[Mapping[str, str]]) -> str:
        """Images, patients, labels and sources of a set."""
        patients = len({row["patient"] for row in rows} - {""})
        labels = count_words(label for row in rows for label in list_labels(row["label"]))
        sources = count_words(row["source"] for row in rows if row["source"])
        words = [f"{len(rows)} images", f"{patients} patients" if patients else "patients unknown"]
        return "; ".join(filter(None, [", ".join(words), labels, sources and f"from {sources}"]))

    def describe_people(self, rows: Sequence[Mapping[str, str]]) -> str:
        """Sex and age of a set, as far as files or tables state them."""
        known = [self.groups.get(row["key"], {}) for row in rows]
        sexes = count_words(one["sex"] for one in known if one.get("sex"))
        ages = count_words(sorted(one["age"] for one in known if one.get("age")))
        words = [f"sex {sexes}" if sexes else "", f"age in decades {ages}" if ages else ""]
        return "; ".join(filter(None, words))

    def tests(self) -> list[tuple[str, list[tuple[str, str, float | None]]]]:
        """Scores of each test set: name -> (score, with its interval, the figure)."""
        found = []
        for name, version in self.run.tests:
            if version != "standard":
                continue
            scores = self.run.scores((name, version))
            lines = []
            for title, path in SCORES.items():
                inner: Any = scores
                for key in path:
                    inner = inner.get(key) if isinstance(inner, Mapping) else None
                cell = find_cell(scores, "intervals", *path)
                lines.append((title, format_interval(inner, cell), inner))
            found.append((name, lines))
        return found

    def reliance(self, name: str) -> str:
        """How much a test set's decisions rest on the background."""
        found = self.run.background((name, "standard"))
        outside = self.run.outside((name, "standard"))
        words = [] if outside is None else [f"{100 * outside:.0f} % of the relevance lies outside"]
        auc = find_cell(found, "background_auc").get("value")
        if auc is not None:
            words.append(f"AUC {auc:.3f} with the lungs removed")
        return "; ".join(words)


def read_run_facts(folder: RunFolder, name: str) -> RunFacts:
    """Everything a form may ask of a run.

    Args:
        folder: A run with a finished training.
        name: What to call the model.

    Raises:
        IsnetError: Kind "weights": there is no trained model; "data": a file is damaged.
    """
    run = read_run(folder, name)
    if not run.card:
        raise IsnetError(
            "weights", f"{folder.path}: no finished training", fix=f"isnet train {folder.path}"
        )
    owner = folder.owner("ingest")
    ingest = folder.stage_dir("ingest")
    groups = read_facts(ingest) if (ingest / TABLE).is_file() else {}
    return RunFacts(run, read_cohort(owner, name, [name]), groups)


def list_labels(label: str) -> list[str]:
    """Classes that a manifest's label says yes to."""
    if "=" not in label:
        return [label] if label else []
    return [part.removesuffix("=1") for part in label.split(";") if part.endswith("=1")]


def count_words(words: Iterable[str]) -> str:
    """``a 3, b 2``, the commonest first; empty for none."""
    return ", ".join(f"{word} {count}" for word, count in Counter(words).most_common())
