"""Predictions and scores on every named test set, and how much of each map lies outside the lungs.

Written for each set and version: ``predictions.csv`` (key, label, predicted, ``p_<class>`` ...,
outside_share), ``metrics.json``, ``roc.svg``, ``pr.svg``, ``confusion.svg``, ``reliability.svg``,
``background.csv`` (predictions on cut and pasted images, see
`isnet_cli.evaluate.background_scores`), ``localisation.csv`` (maps against annotated findings,
`isnet_cli.evaluate.localisation`); and one ``metrics.json`` of all, with the differences
between tests. With ``bias.kind: shapes`` each labelled set is tested in three versions of the same
images: biased (as in training), standard (no shape) and deceiving (no class keeps its own shape).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from isnet_cli.annotations.read import check_annotations, hash_annotations
from isnet_cli.config.schema import Config
from isnet_cli.core import files
from isnet_cli.core.journal import Journal, remove_files
from isnet_cli.core.names import make_names
from isnet_cli.core.records.metrics import Metrics
from isnet_cli.core.records.read import read_record
from isnet_cli.core.run_context import RunContext
from isnet_cli.core.run_folder import RunFolder
from isnet_cli.core.stage import StageResult
from isnet_cli.dataset.evaluation_sets import (
    TRAINING_SETS,
    Stopped,
    check_labels,
    choose_sets,
    list_versions,
    select_version,
)
from isnet_cli.dataset.image_dataset import Version
from isnet_cli.errors import IsnetError
from isnet_cli.evaluate import attack, background
from isnet_cli.evaluate.adaptation import adapt_predictor
from isnet_cli.evaluate.answers import Part, Work, predict_set, tabulate_part
from isnet_cli.evaluate.background_scores import summarise_background
from isnet_cli.evaluate.localisation import Figures, measure_set, plan_sets
from isnet_cli.evaluate.localisation_scores import add_localisation, summarise_pointing
from isnet_cli.evaluate.scoring import (
    compute_shifts,
    reference_set,
    score_part,
    summarise_scores,
    summarise_shifts,
)
from isnet_cli.evaluate.subgroups import find_groups, score_groups
from isnet_cli.images.manifest import read_manifest
from isnet_cli.images.types import Row
from isnet_cli.inference.predictor import (
    Predictor,
    dependencies,
    open_predictor,
    shared_settings,
)
from isnet_cli.stats.reliance import summarise
from isnet_cli.stats.shift import Test
from isnet_models.methods.segmentation.segment_then_classify import LungsOnly

NAME = "evaluate"
SHARES = True
FORMAT = 5  # raise when the same inputs give another result
SCHEMA = 2  # of metrics.json
METRICS, PREDICTIONS = "metrics.json", "predictions.csv"
OFF = "evaluate.relevance is false"


def preflight(config: Config) -> None:
    """Refuses annotations that cannot be read, before anything is trained.

    Raises:
        IsnetError: Kind "data".
    """
    check_annotations(config)


def fingerprint(config: Config, folder: RunFolder) -> str:
    """Hash of the model, the images, the masks and the settings that the figures depend on.

    Raises:
        IsnetError: When ingest, masks or the model are missing.
    """
    parts = [*dependencies(config, config.evaluate.model, folder), *hash_annotations(config)]
    return files.fingerprint(settings(config), *parts)


def settings(config: Config) -> list[Any]:
    """What of the configuration the figures depend on."""
    heat, drawn = config.heatmap, config.evaluate.annotations
    unused = {"model", "batch_size", *(["segmenter"] if config.evaluate.segmenter else [])}
    if not config.evaluate.subgroups:
        unused |= {"subgroups", "subgroup_least"}
    if config.evaluate.adapt == "none":
        unused.add("adapt")
    own = config.evaluate.model_dump(exclude=unused if drawn else {*unused, "annotations"})
    maps = [heat.method, heat.family] if drawn else []
    return [NAME, FORMAT, own, *maps, config.seed, *shared_settings(config)]  # seed: intervals


def _work_identity(config: Config, folder: RunFolder) -> str:
    """Hash of what unfinished work depends on: the result, and the batches it is made in."""
    return files.fingerprint(fingerprint(config, folder), config.evaluate.batch_size)


def run(config: Config, folder: RunFolder, context: RunContext) -> StageResult:
    """Evaluates the trained model on the sets of ``evaluate.sets``.

    Returns:
        Outputs ``metrics.json`` and all predictions; summary: macro-F1, AUC, mean share of
        relevance outside the lungs and background reliance for each set and version.

    Raises:
        IsnetError: Kind "data" for a class that the model does not know or when there is no set,
            "config" for an unknown set, "weights" when the model is missing or diverged.
    """
    predictor = apply_segmenter_setting(open_predictor(config, config.evaluate.model, folder))
    rows = read_manifest(folder.stage_dir("ingest") / "manifest.csv")
    sets = choose_sets(rows, config.evaluate.sets, "evaluate.sets")
    reference = reference_set(config, list(sets))
    groups = find_groups(config, folder, rows)
    check_labels(sets, predictor.classes, predictor.task)
    _warn_about(sets, context)
    why = _no_relevance(predictor, context)
    try:
        plans = plan_sets(predictor, sets, rows, context)
    except Stopped:
        return StageResult([], {}, complete=False)
    root = folder.stage_dir(NAME)
    old = _written(root)
    steps = sum(len(select_version(r, v)) for r in sets.values() for v in list_versions(r, config))
    steps += sum(
        len(background.list_usable(predictor, r)) * len(list_versions(r, config))
        for r in sets.values()
    )
    steps += sum(len(attack.choose_attacked(predictor, n, r)) for n, r in sets.items())
    steps += sum(
        plans[name].count_steps(v) for name, r in sets.items() for v in list_versions(r, config)
    )
    try:
        with (
            Journal(root, _work_identity(config, folder), context.share) as journal,
            context.progress.bar("evaluate", steps) as bar,
        ):
            work = Work(predictor, why, groups, journal, bar, context, plans)
            if not context.share.whole:
                for name, images in sets.items():
                    _ask_model(work, name, images)
                journal.end_share()
                return StageResult([], {}, complete=False)
            places = make_names(sets)
            tests: dict[tuple[str, str], Test] = {}
            results = {
                name: _test_set(work, root / places[name], name, images, tests)
                for name, images in sets.items()
            }
            deltas = compute_shifts(config, tests, reference)
            content = {
                "schema": SCHEMA, **predictor.describe(), "thresholds": predictor.thresholds,
                **({"adapt": config.evaluate.adapt} if config.evaluate.adapt != "none" else {}),
                "sets": results, "reference": reference, "shift": deltas,
            }  # fmt: skip
            files.write_json(root / METRICS, content)
            remove_files(root, old - _written(root))
            journal.complete()
    except Stopped:
        return StageResult([], {}, complete=False)
    outputs = [root / METRICS, *(root / name for name in sorted(_written(root)))]
    return StageResult(outputs, _summary(results, deltas))


Measured = dict[Version, list[Figures]]  # of annotated findings


def _warn_about(sets: dict[str, list[Row]], context: RunContext) -> None:
    for name, rows in sets.items():
        if name in TRAINING_SETS:
            context.warn("data", f"set '{name}' took part in training: its scores are optimistic")
        labelled = sum(bool(row.label) for row in rows)
        if not labelled:
            context.say(f"set '{name}' has no labels: predictions only, no scores")
        elif labelled < len(rows):
            context.say(f"set '{name}': {len(rows) - labelled} of {len(rows)} images have no label")


def _no_relevance(predictor: Predictor, context: RunContext) -> str:
    """Why no maps are made, or ""."""
    if not predictor.config.evaluate.relevance:
        return OFF
    why = predictor.no_rule()
    if why:
        context.warn("model", f"share of relevance outside the lungs is left out: {why}")
    return why


def _test_set(
    work: Work, root: Path, name: str, rows: list[Row], tests: dict[tuple[str, str], Test]
) -> dict[Version, dict[str, Any]]:
    """Metrics of a set in each version; writes their files to `root` and adds to `tests`."""
    parts, cut, attacked, pointed = _ask_model(work, name, rows)
    found = {
        version: _write_version(root, name, version, part, cut, tests)
        for version, part in parts.items()
    }
    plain = found["standard"]
    part = parts["standard"]
    if work.groups and any(row.label for row in part.rows):
        p = np.array(part.probabilities, np.float64).reshape(len(part.rows), -1)
        plain["subgroups"] = score_groups(
            (name, "standard"), part.rows, p, work.predictor, work.groups
        )
    plain["attack"] = attack.summarise_attack(attacked, work.predictor)
    if attacked is not None and attacked.rows:
        lines = attack.list_lines(attacked)
        files.write_csv(root / "standard" / attack.TABLE, list(attack.COLUMNS), lines)
        plain["files"].append(f"{root.name}/standard/{attack.TABLE}")
    for version, content in found.items():
        add_localisation(
            work.predictor, work.plans[name], pointed[version], root / version, content
        )
        whole = {"set": name, "version": version, **content}
        files.write_json(root / version / METRICS, whole)
    return found


def _ask_model(
    work: Work, name: str, rows: list[Row]
) -> tuple[dict[Version, Part], background.Examined, attack.Attacked | None, Measured]:
    """All answers of the model on a set; only those of a share, where one was asked for."""
    work = dataclasses.replace(
        work, predictor=adapt_predictor(work.predictor, name, rows, work.context)
    )
    parts = predict_set(work, name, rows)
    bench = background.Bench(work.predictor, work.journal, work.bar, work.context)
    cut = background.examine(bench, name, rows, tuple(parts))
    attacked, plan = attack.attack_set(bench, name, rows), work.plans[name]
    pointed = {version: measure_set(bench, name, plan, version) for version in parts}
    return parts, cut, attacked, pointed


def _write_version(
    root: Path,
    name: str,
    version: Version,
    part: Part,
    cut: background.Examined,
    tests: dict[tuple[str, str], Test],
) -> dict[str, Any]:
    """Scores one version, writes its tables, adds to `tests`, returns its metrics."""
    predictor = cut.predictor
    p = np.array(part.probabilities, np.float64).reshape(len(part.rows), -1)
    scored = score_part((name, version), part.rows, p, predictor)
    tests[name, version] = scored.test
    shares = [np.nan if share is None else share for share in part.shares]
    reliance = summarise(shares, p.argmax(axis=1).tolist(), predictor.classes)
    if part.why:
        reliance["why"] = part.why
    keys = [row.key for row in part.rows]
    swapped, lines = cut.figures(version, dict(zip(keys, part.probabilities, strict=True)))
    place = root / version
    tables = [PREDICTIONS, *([background.TABLE] if lines else [])]
    names = [f"{root.name}/{version}/{file}" for file in (*tables, METRICS, *scored.pictures)]
    content = {
        "images": len(part.rows), **scored.metrics, "relevance_outside": reliance,
        "background": swapped, "files": names,
    }  # fmt: skip
    if lines:
        files.write_csv(place / background.TABLE, background.list_columns(predictor), lines)
    files.write_csv(place / PREDICTIONS, *tabulate_part(part, p, predictor))
    for file, text in scored.pictures.items():
        files.write_text(place / file, text)
    return content


def _written(root: Path) -> set[str]:
    """Files per set and version that the stage's ``metrics.json`` names, relative to `root`."""
    path = root / METRICS
    if not path.is_file():
        return set()
    try:
        sets = read_record(path, Metrics, what="scores", fix="")["sets"]
    except IsnetError:
        return set()  # not a file of this stage's form: nothing in it is ours to remove
    return {f for parts in sets.values() for part in parts.values() for f in part["files"]}


def _summary(
    results: dict[str, dict[Version, dict[str, Any]]], deltas: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "shift": summarise_shifts(deltas),
        "sets": {
            name: {
                version: {
                    **summarise_scores(content),
                    **summarise_pointing(content["localisation"]),
                    "outside": content["relevance_outside"]["mean"],
                    "background": summarise_background(content["background"]),
                }
                for version, content in parts.items()
            }
            for name, parts in results.items()
        },
    }


def apply_segmenter_setting(predictor: Predictor) -> Predictor:
    """`predictor` as `evaluate.segmenter` asks: unchanged, or its classifier gets whole images.

    The card's ``segmenter.used`` then says so (``segment`` or ``whole``).

    Raises:
        IsnetError: Kind "config": the model has no segmenter that could be left out.
    """
    net, card = predictor.model.net, predictor.model.card
    asked = predictor.config.evaluate.segmenter
    if not isinstance(net, LungsOnly):
        if asked:
            return predictor
        raise IsnetError(
            "config",
            f"evaluate.segmenter: false, but a model of method {card['method']} has no segmenter",
            fix="evaluate.segmenter: true",
        )
    if not asked:
        net.at_test = "whole"
    said = {**card, "segmenter": {**card["segmenter"], "used": net.at_test}}
    return dataclasses.replace(predictor, model=dataclasses.replace(predictor.model, card=said))
