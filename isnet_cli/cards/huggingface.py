"""A model card as the Hugging Face hub reads it: YAML at the head, Markdown below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from isnet_cli.cards.facts import LIMITS, USE, RunFacts
from isnet_cli.config.yaml_tree import write
from isnet_cli.text.forms import for_markdown

STATE = "_Authors must state._"
TYPES = {"macro AUC": "roc_auc", "macro F1": "f1", "macro recall": "recall", "accuracy": "accuracy"}


def write_huggingface(facts: RunFacts) -> str:
    """``README.md`` of a model's repository; the licence is for its authors to choose."""
    card = facts.card
    lines = [
        "---", write(_head(facts)).rstrip(), "---", "",
        f"# {for_markdown(facts.run.name)}", "",
        f"Chest X-ray classifier: {for_markdown(facts.output)}. {USE}", "",
        "| | |", "|---|---|",
        f"| network | {for_markdown(facts.architecture)} |",
        f"| training | {for_markdown(facts.method)} |",
        f"| start | {for_markdown(facts.start)} |",
        f"| decision | {for_markdown(facts.threshold)} |",
        f"| best epoch | {card['epoch']}, by validation {card.get('selected_by', 'loss')} |",
        f"| weights | SHA-256 `{card['sha256']}` |", "",
        "## How to use", "",
        "```sh", "pip install isnet", "isnet predict ./xrays --model ./model", "```", "",
        "`model.safetensors` and `model.json` lie in the folder `model`. Images are read, masked",
        "and flagged as in training.", "",
        "## Intended use and limits", "", USE, *(f"* {text}" for text in LIMITS), "",
        "## Training and test data", "", "| set | images |", "|---|---|",
        *(_row(name, [facts.describe_set(rows)]) for name, rows in facts.sets()),
        "", f"Origin, licence and ethics approval of the images: {STATE}", "",
    ]  # fmt: skip
    if tests := facts.tests():
        titles = [title for title, _, _ in tests[0][1]]
        lines += [
            "## Scores", "", "In brackets 95 % intervals.", "",
            f"| set | {' | '.join(titles)} |", "|---" * (len(titles) + 1) + "|",
            *(_row(name, [text for _, text, _ in scores]) for name, scores in tests), "",
            *(f"{for_markdown(n)}: {t}.  " for n, _ in tests if (t := facts.reliance(n))), "",
        ]  # fmt: skip
    lines += ["## Authors, funding, contact", "", STATE, ""]
    return "\n".join(lines)


def _row(name: str, cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(for_markdown, [name, *cells]))} |"


def _head(facts: RunFacts) -> dict[str, Any]:
    results = [
        {
            "task": {"type": "image-classification"},
            "dataset": {"type": "private", "name": name},
            "metrics": [
                {"type": TYPES[title], "value": round(value, 4), "name": title}
                for title, _, value in lines
                if title in TYPES and value is not None
            ],
        }
        for name, lines in facts.tests()
    ]
    head: dict[str, Any] = {
        "license": "other",
        "library_name": "isnet",
        "pipeline_tag": "image-classification",
        "tags": ["chest-x-ray", "radiology", "medical", "interpretability", "isnet"],
    }
    if results:
        head["model-index"] = [{"name": facts.run.name, "results": results}]
    return head
