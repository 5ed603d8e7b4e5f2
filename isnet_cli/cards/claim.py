"""The check list of CLAIM 2024 with the items of TRIPOD+AI beside, answered as far as a run can.

Items: Tejani et al., Checklist for Artificial Intelligence in Medical Imaging (CLAIM): 2024 Update,
Radiology: Artificial Intelligence 6(4):e240300; Collins et al., TRIPOD+AI statement, BMJ
385:e078378 (2024). Words are ours; authors fill in the published forms.
"""

from __future__ import annotations

from isnet_cli.cards.facts import LIMITS, USE, RunFacts
from isnet_cli.text.forms import for_markdown

STATE = "**authors must state**"
# number -> (what is asked, item of TRIPOD+AI)
ITEMS: dict[int, tuple[str, str]] = {
    1: ("title names the kind of AI", "1"),
    2: ("structured abstract", "2"),
    3: ("background, intended use and role", "3"),
    4: ("aims and hypotheses", "4"),
    5: ("prospective or retrospective", "5"),
    6: ("goal of the study", "4"),
    7: ("sources of the data", "5"),
    8: ("inclusion and exclusion", "6"),
    9: ("preprocessing", "7"),
    10: ("selection of subsets", "5"),
    11: ("de-identification", "17"),
    12: ("missing data", "11"),
    13: ("image acquisition", "9"),
    14: ("reference standard", "8"),
    15: ("why that standard", "8"),
    16: ("who annotated", "8"),
    17: ("annotation of the test set", "8"),
    18: ("variability of readers", "8"),
    19: ("how data were divided", "12"),
    20: ("level at which sets are disjoint", "12"),
    21: ("intended sample size", "10"),
    22: ("the model", "12"),
    23: ("software and versions", "12"),
    24: ("initial weights", "12"),
    25: ("training", "12"),
    26: ("choice of the final model", "12"),
    27: ("ensembles", "12"),
    28: ("metrics", "12e"),
    29: ("significance and uncertainty", "12"),
    30: ("robustness", "12"),
    31: ("explainability", "15"),
    32: ("test on internal data", "16"),
    33: ("test on external data", "16"),
    34: ("registration of a trial", "18d"),
    35: ("numbers included and excluded", "20a"),
    36: ("demographics of each set", "20b, 20c"),
    37: ("performance on all sets", "23a, 23b"),
    38: ("diagnostic performance and precision", "21, 23a"),
    39: ("analysis of wrong results", "25"),
    40: ("limits of the study", "26"),
    41: ("what it means in practice", "25"),
    42: ("full protocol", "18c"),
    43: ("availability of software, model, data", "18e, 18f"),
    44: ("funding", "18a"),
}
# items of TRIPOD+AI that CLAIM does not ask for
MORE: dict[str, str] = {
    "3c": "known health inequalities between groups",
    "8b": "who assessed the outcome, and how alike in all groups",
    "13": "class imbalance, and what was done about it",
    "14": "fairness: what was done, and why",
    "17": "ethical approval, informed consent",
    "18b": "conflicts of interest",
    "19": "patients and the public in the study",
    "22": "the whole model, or access to it",
    "24": "updating of the model",
    "27": "images of poor quality, skill that users need, next steps",
}


def write_claim(facts: RunFacts) -> str:
    """The list as Markdown, with the number of items that the run answers."""
    known = {number: text for number, text in _answers(facts).items() if text}
    more = {item: text for item, text in _answer_more(facts).items() if text}
    lines = [
        f"# CLAIM 2024 and TRIPOD+AI: {for_markdown(facts.run.name)}", "",
        f"The run answers {len(known) + len(more)} of {len(ITEMS) + len(MORE)} items, in part or "
        "in full; the others are for the authors. Answers are facts of the run, not sentences of "
        "a paper.", "",
        "| CLAIM | TRIPOD+AI | asked | answer |", "|---|---|---|---|",
    ]  # fmt: skip
    for number, (asked, item) in ITEMS.items():
        answer = for_markdown(known[number]) if number in known else STATE
        lines.append(f"| {number} | {item} | {asked} | {answer} |")
    for item, asked in MORE.items():
        answer = for_markdown(more[item]) if item in more else STATE
        lines.append(f"| \N{EN DASH} | {item} | {asked} | {answer} |")
    return "\n".join([*lines, ""])


def _answer_more(facts: RunFacts) -> dict[str, str]:
    run, card = facts.run, facts.card
    groups = run.setting("evaluate.subgroups")
    return {
        "13": f"class_weights {run.setting('train.class_weights')}, "
        f"sampler {run.setting('train.sampler')}",
        "14": f"scores per subgroup: {groups}" if groups not in ("unknown", "[]") else "",
        "22": f"weights SHA-256 {card['sha256']}, with model.json",
        "27": "isnet predict flags unusual images, doubtful lung masks and undecided predictions",
    }


def _answers(facts: RunFacts) -> dict[int, str]:
    card, run = facts.card, facts.run
    sets = facts.sets()
    tests = [name for name, _ in facts.tests()]
    skipped = [row for row in facts.cohort.rows if row["status"] != "ok"]
    sources = {name: {row["source"] for row in rows} - {""} for name, rows in sets}
    trained = sources.get("train", set()) | sources.get("val", set())
    external = [n for n in tests if sources.get(n) and not sources[n] & trained]
    people = "; ".join(f"{n}: {t}" for n, rows in sets if (t := facts.describe_people(rows)))
    scores = "; ".join(
        f"{name}: {', '.join(f'{title} {text}' for title, text, _ in lines)}"
        for name, lines in facts.tests()
    )
    reasons = sorted({row["reason"].split(":")[0] for row in skipped})
    versions = ", ".join(f"{k} {v}" for k, v in (run.record.get("versions") or {}).items())
    return {
        6: f"classification of chest X-rays: {facts.output} (clinical goal: authors must state)",
        7: "; ".join(f"{name}: {', '.join(sorted(own))}" for name, own in sources.items() if own),
        8: f"{len(facts.cohort.images)} images used, {len(skipped)} skipped"
        + (f" ({', '.join(reasons)})" if reasons else "")
        + " (clinical criteria: authors must state)",
        9: f"grey values by {run.setting('data.scale')}, letterbox to "
        f"{' x '.join(map(str, card['input']))} px, standardisation {card.get('standardise')}",
        11: "files of the run hold pseudonyms of patients, no names, dates or identifiers",
        12: "findings without a label are left out of loss and scores (multi-label); uncertain"
        f" ones: {run.setting('data.labels.uncertain')}",
        19: f"fractions or sets named in the table, seed {card['seed']}: "
        + "; ".join(f"{name} {len(rows)} images" for name, rows in sets),
        20: f"by {run.setting('data.split.group')}; patients in two sets are refused"
        if run.setting("data.split.allow_overlap") != "True"
        else "patients in two sets were allowed",
        22: facts.architecture,
        23: versions,
        24: facts.start,
        25: f"{facts.method}; {run.setting('train.epochs')} epochs, batch "
        f"{run.setting('train.batch_size')}, {run.setting('train.optimizer.name')} with rate "
        f"{run.setting('train.optimizer.lr')}, augmentation as in isnet.yaml",
        26: f"epoch {card['epoch']}, by validation {card.get('selected_by', 'loss')}",
        27: "none",
        28: "AUC, F1, recall, specificity, accuracy, calibration; means over classes",
        29: "95 % intervals by closed forms or a bootstrap of patients (docs/evaluation.md)"
        if tests
        else "",
        30: "; ".join(f"{name}: {text}" for name in tests if (text := facts.reliance(name))),
        31: f"relevance maps ({card['heatmap']['family']}), share outside the lungs",
        32: ", ".join(name for name in tests if name not in external),
        33: ", ".join(external),
        35: "; ".join(f"{name}: {facts.describe_set(rows)}" for name, rows in sets),
        36: people,
        37: scores,
        38: scores and "intervals in brackets under 37",
        40: " ".join(LIMITS),
        41: USE,
        43: f"isnet {card.get('isnet', '')} (Apache-2.0), weights SHA-256 {card['sha256'][:12]}...",
    }
