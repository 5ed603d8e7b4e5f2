"""What `isnet check` concludes from pixels: near-duplicates, and what background and lungs tell.

Two questions, each answered from the background alone and from the lungs alone: which class, and
which source.
Verdicts are sentences about two of the four answers: the class from the background (a network may
fall for it; training with lung masks removes it), the source from the lungs (it cannot).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from isnet_cli.check.features import ImageFeatures, trains_with_shapes
from isnet_cli.check.near_duplicates import find_near_duplicates
from isnet_cli.check.probes import Question, run_probe
from isnet_cli.config.schema import Config
from isnet_cli.core.runtime import derive_seed
from isnet_cli.images.types import Row
from isnet_cli.ingest.set_checks import UNKNOWN, Finding
from isnet_cli.labels.values import parse_label
from isnet_cli.text.tables import format_table

EXAMPLES = 5
TELLS = 0.7  # AUC from which an answer counts as found
CHANCE = 0.5
LEARNT = ("train", "val")  # sets whose images a model learns from
NO_MASKS = "no image has a lung mask"
VIEWS = {"background": "from the background", "lungs": "from the lungs"}


def judge_near_duplicates(images: Sequence[ImageFeatures]) -> tuple[dict[str, Any], list[Finding]]:
    """Pairs of images that look the same: facts, and warnings where they matter.

    Pairs matter in different sets (the test set is then known from training), and with different
    labels. Images of one patient that look the same are counted too; sets of patients are judged by
    `check_sets`.
    """
    across, within, contradict = [], 0, []
    for i, j, bits in (
        find_near_duplicates(np.array([image.hash for image in images], bool)) if images else ()
    ):
        a, b = images[i].row, images[j].row
        if a.set and b.set and a.set != b.set:
            across.append((a, b, bits))
        else:
            within += 1
        if a.label and b.label and a.label != b.label:
            contradict.append((a, b, bits))
    facts = {
        "images": len(images),
        "across_sets": len(across),
        "within_sets": within,
        "different_labels": len(contradict),
        "examples": [_name_pair(a, b) for a, b, _ in across[:EXAMPLES]],
    }
    return facts, list(_warn_of_pairs(across, contradict))


def _warn_of_pairs(
    across: Sequence[tuple[Row, Row, int]], contradict: Sequence[tuple[Row, Row, int]]
) -> Iterator[Finding]:
    if across:
        names = sorted({row.set for a, b, _ in across for row in (a, b)})
        yield Finding(
            "warning",
            f"data.sets: {_count_noun(len(across), 'pair')} of images in different sets"
            f" ({', '.join(names)}) look the same: near-duplicates make scores too good",
            fix="look at them; remove the copies, or give both the same patient",
            details=_list_pairs(across),
        )
    if contradict:
        yield Finding(
            "warning",
            f"data.labels: {_count_noun(len(contradict), 'pair')} of images look the same and have"
            " different labels",
            fix="look at them and mend the labels",
            details=_list_pairs(contradict),
        )


def _list_pairs(pairs: Sequence[tuple[Row, Row, int]]) -> tuple[str, ...]:
    lines = [_name_pair(a, b) for a, b, _ in pairs[:EXAMPLES]]
    more = len(pairs) - len(lines)
    return (*lines, f"and {more} more") if more else tuple(lines)


def _name_pair(a: Row, b: Row) -> str:
    return " and ".join(f"{row.key} ({row.set or 'no set'})" for row in (a, b))


def ask_probes(images: Sequence[ImageFeatures], config: Config) -> dict[str, Any]:
    """The four answers, as a JSON-able dictionary.

    Returns:
        ``images`` (with a mask), ``shapes`` (as in training), ``class`` and ``source``: each with
        ``sets`` (where the images are from) and ``background`` and ``lungs`` as
        `isnet_cli.check.probes.run_probe` gives them, ``source`` also with ``names``; or
        ``images`` 0 and ``why``.
    """
    masked = [image for image in images if image.background is not None]
    if not masked:
        return {"images": 0, "why": NO_MASKS}
    seed = derive_seed(config.seed, "probes") % 2**32
    learnt = [image for image in masked if image.row.set in LEARNT]
    labelled = [image for image in learnt or masked if image.row.label]
    found: dict[str, Any] = {"images": len(masked), "shapes": trains_with_shapes(config.bias)}
    found["class"] = _probe_views(
        labelled, _make_class_questions(labelled, config), _list_sources(labelled), seed
    )
    labels = [image.row.label for image in masked]
    source = _make_question("source", _list_sources(masked))
    found["source"] = _probe_views(masked, [source], labels, seed)
    found["source"]["names"] = list(source.classes)
    return found


def _probe_views(
    images: Sequence[ImageFeatures], questions: Sequence[Question], strata: Sequence[str], seed: int
) -> dict[str, Any]:
    # numbered as they come: pseudonyms differ from run to run, folds and draws must not
    names = [image.row.patient or f"film {image.row.key}" for image in images]
    numbers = {name: f"{i:09}" for i, name in enumerate(dict.fromkeys(names))}
    patients = [numbers[name] for name in names]
    found: dict[str, Any] = {"sets": list(dict.fromkeys(image.row.set for image in images))}
    for view in VIEWS:
        features = np.array([getattr(image, view) for image in images], np.float32)
        found[view] = run_probe(features, questions, patients, strata, seed)
    return found


def _list_sources(images: Sequence[ImageFeatures]) -> list[str]:
    return [image.row.source or UNKNOWN for image in images]


def _make_class_questions(images: Sequence[ImageFeatures], config: Config) -> list[Question]:
    """One question, or one for each label."""
    task = config.data.labels.task
    if task == "multiclass":
        return [_make_question("class", [image.row.label for image in images])]
    labels = [parse_label(image.row.label, task) for image in images]
    names = list(dict.fromkeys(name for values in labels for name in values))
    answers = [
        np.array([-1 if np.isnan(v := values.get(name, np.nan)) else int(v) for values in labels])
        for name in names
    ]
    return [
        Question(name, ("no", "yes"), found.astype(np.int64))
        for name, found in zip(names, answers, strict=True)
    ]


def _make_question(name: str, values: Sequence[str]) -> Question:
    classes = tuple(sorted(set(values) - {UNKNOWN}))
    index = {value: k for k, value in enumerate(classes)}
    return Question(name, classes, np.array([index.get(value, -1) for value in values], np.int64))


def judge_probes(found: Mapping[str, Any], config: Config) -> list[dict[str, str]]:
    """What the answers mean: ``about``, ``tells`` (``yes``, ``little``, ``no``, ``unknown``), text.

    Args:
        found: From `ask_probes`.
        config: The configuration.
    """
    if not found["images"]:
        text = "what background and lungs tell is unknown, for want of lung masks"
        advice = "isnet masks CONFIG -o RUN, then isnet check RUN; or give masks: masks.files"
        return [{"about": "masks", "tells": "unknown", "text": f"{text}: {advice}"}]
    judged = [_judge_answer("class", found["class"]["background"], CLASS_WORDS)]
    if len(found["source"]["names"]) > 1:
        source = _judge_answer("source", found["source"]["lungs"], SOURCE_WORDS)
        if source["tells"] == "yes":
            source["text"] += ADVICE[config.model.standardise]
        judged.append(source)
    return judged


CLASS_WORDS: Mapping[str, str] = {
    "yes": "the background alone tells the class ({auc}): train with isnet",
    "little": "the background alone tells a little of the class ({auc}): isnet keeps a network"
    " from learning it",
    "no": "the background alone does not tell the class ({auc}), as far as a small probe sees",
    "unknown": "whether the background tells the class is unknown: {why}",
    "within": "source",
}
ADVICE: Mapping[str, str] = {  # by how images are standardised already
    "none": "; standardise the lungs and check again: --set model.standardise=bands",
    "lungs": "; standardise the spectrum too and check again: --set model.standardise=bands",
    "bands": "; images are standardised already: vary exposure and spectrum in training"
    " (train.augment.gamma: 0.5, train.augment.spectrum: 1.0) and test on images of other sources",
}
SOURCE_WORDS: Mapping[str, str] = {
    "yes": "the lungs alone tell the source ({auc}): background methods cannot remove that",
    "little": "the lungs alone tell a little of the source ({auc}): background methods cannot"
    " remove that",
    "no": "the lungs alone do not tell the source ({auc}), as far as a small probe sees",
    "unknown": "whether the lungs tell the source is unknown: {why}",
    "within": "class",
}


def _judge_answer(
    about: str, answer: Mapping[str, Any], words: Mapping[str, str]
) -> dict[str, str]:
    if answer["auc"] is None:
        text = words["unknown"].format(why=answer["why"])
        return {"about": about, "tells": "unknown", "text": text}
    tells = "yes" if answer["auc"] >= TELLS else "little" if answer["low"] > CHANCE else "no"
    text = words[tells].format(auc=f"AUC {format_interval(answer)}")
    within = answer["within"]
    if within["auc"] is None:
        text += "; each class has its own source, so class and source cannot be separated"
    elif tells == "yes" and within["low"] <= CHANCE:
        text += f"; within one {words['within']} it is AUC {format_interval(within)}"
    return {"about": about, "tells": tells, "text": text}


def format_interval(answer: Mapping[str, Any]) -> str:
    """An AUC with its interval as text, ``-`` for none."""
    if answer["auc"] is None:
        return "-"
    return f"{answer['auc']:.2f} [{answer['low']:.2f}, {answer['high']:.2f}]"


def describe_features(found: Mapping[str, Any]) -> list[str]:
    """What was seen, for people: near-duplicates, the answers as a table, the verdicts.

    Args:
        found: With ``near_duplicates``, ``probes`` and ``verdicts``.
    """
    copies = found["near_duplicates"]
    lines = [
        f"looked at {copies['images']} of {copies['of']} images:"
        f" {_count_noun(copies['across_sets'], 'near-duplicate')} in different sets,"
        f" {copies['within_sets']} others, {copies['different_labels']} with different labels"
    ]
    lines += [f"  {line}" for line in _format_table(found["probes"])]
    return lines + [f"verdict: {verdict['text']}" for verdict in found["verdicts"]]


def _format_table(found: Mapping[str, Any]) -> list[str]:
    """The four answers."""
    if not found["images"]:
        return []
    shapes = ", with the shapes of training" if found["shapes"] else ""
    rows = [[f"AUC, {found['images']} images{shapes}", *VIEWS.values()]]
    for about, other in (("class", "source"), ("source", "class")):
        answers = [found[about][view] for view in VIEWS]
        rows.append([about, *map(format_interval, answers)])
        single = answers[0]["per_class"]
        if about == "class" and len(single) > 2:
            rows += [
                [f"  {name}", *(f"{answer['per_class'][name]:.2f}" for answer in answers)]
                for name in single
            ]
        there = answers[0]["within"].get("per_class", {})
        named = f" ({', '.join(there)})" if 0 < len(there) < len(single) else ""
        cells = [format_interval(answer["within"]) for answer in answers]
        rows.append([f"  within one {other}{named}", *cells])
    return format_table(rows[0], rows[1:], left=len(rows[0])).splitlines()


def _count_noun(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
