"""A model card for the ATLAS registry of the Radiological Society of North America.

Keys and allowed words are those of its public JSON Schema for models, version 2025-11 (repository
RSNA/ATLAS, model.json). Its stages differ in few keys: those that one of them lacks are not used.
"""

from __future__ import annotations

from typing import Any

from isnet_cli.cards.facts import LIMITS, USE, RunFacts

SCHEMA = "https://atlas.rsna.org/schemas/2025-11/model.json"
LONGEST_NAME, SHORTEST_NAME = 256, 4  # characters, by the schema
METRICS = {
    "macro AUC": "AUC of each class vs. the rest combined",
    "macro F1": "macro-F1",
    "macro recall": "macro-recall",
    "macro specificity": "specificity",
    "accuracy": "accuracy",
}
FORMATS = {"dicom": "DICOM", "png": "PNG", "jpeg": "JPEG"}


def write_atlas(facts: RunFacts, link: str) -> dict[str, Any]:
    """The card; what only authors can say (people, funding, ethics, indications) is left out.

    Args:
        facts: Of the run.
        link: Where the model is published (URL), which the schema requires.
    """
    card = facts.card
    name = facts.run.name.ljust(SHORTEST_NAME, "_")[:LONGEST_NAME]
    summary = (
        f"Chest X-ray classifier, {facts.output}. Network: {facts.architecture}. Trained by "
        f"{facts.method}. {USE}"
    )
    kinds = {row["format"].split(":")[0] for row in facts.cohort.images}
    properties: dict[str, Any] = {
        "Architecture": facts.architecture,
        "Decision threshold": facts.threshold,
        "Input": "frontal chest radiograph, grey values 0 to 1, bone bright",
        "Instructions": "isnet predict IMAGES --model RUN reads, masks and flags images alike",
        "Limitations": " ".join(LIMITS),
        "Output": {"Description": facts.output},
        "Reproducibility": (
            f"isnet {card.get('isnet', '')}, seed {card['seed']}, weights SHA-256 {card['sha256']}"
        ),
        "Use": {"Intended": ["Other"], "Excluded": ["Detection and diagnosis", "Triage"]},
        "User": {"Intended": ["Researcher"], "Excluded": ["Patient", "Layperson"]},
        "Regulatory information": {"Authorization status": "not a medical device", "Comment": USE},
    }
    model: dict[str, Any] = {
        "Name": name,
        "Link": link,
        "Indexing": {"Content": ["CH"], "Keywords": ["chest radiography", "classification"]},
        "Descriptors": {"Version": str(card["sha256"])[:12], "Comments": summary},
        "Model properties": properties,
        "Imaging": {
            "Modalities": ["Projection radiography (RID10345)"],
            "File format": sorted({FORMATS.get(kind, "Other") for kind in kinds}) or ["Other"],
            "Resolution": f"reduced to {' x '.join(map(str, card['input']))} px",
        },
    }
    if tests := facts.tests():
        model["Model performance"] = {
            "Metrics": [METRICS[title] for title, _, value in tests[0][1] if value is not None],
            "Comments": " ".join(
                f"Test set {name}: {', '.join(f'{title} {text}' for title, text, _ in lines)}."
                for name, lines in tests
            ),
        }
    return {"$schema": SCHEMA, "Model": model}
