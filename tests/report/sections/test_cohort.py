"""Cohort and masks: every image is counted once, lost ones with their reason, warnings when due."""

from collections.abc import Sequence

from isnet_cli.images.types import ROW_FIELDS
from isnet_cli.report.blocks import Flow, Grid, Notice, Picture, Section, Table
from isnet_cli.report.results import Cohort
from isnet_cli.report.sections.cohort import build_cohort_section, build_masks_section, list_classes


def row(**cells: str) -> dict[str, str]:
    return dict.fromkeys(ROW_FIELDS, "") | {"status": "ok", "set": "train", "source": "A"} | cells


def qc(key: str, verdict: str, reason: str = "", origin: str = "file") -> dict[str, str]:
    return {
        "key": key, "origin": origin, "area": "0.25", "verdict": verdict, "reason": reason,
    }  # fmt: skip


ROWS = [
    row(key="1", label="sick", patient="p1"),
    row(key="2", label="well", patient="p1"),
    row(key="3", label="well", patient="p2", source="B"),
    row(key="4", label="sick", set="test"),
    row(key="5", label="sick", set=""),
    row(key="6", label=""),
    row(key="7", status="skipped", reason="lateral_view: seen from the side"),
    row(key="8", status="skipped", reason="no_pixels: empty"),
    row(key="9", status="skipped", reason="no_pixels: empty"),
]
QC = [
    qc("1", "ok"),
    qc("2", "suspect", "small_area: 0.01; one_lung: one piece"),
    qc("3", "missing", "no_file: nothing"),
    qc("4", "ok", origin="lung-unet"),
    qc("5", "ok"),
    qc("6", "ok"),
]


def only(section: Section, kind: type) -> list:
    return [block for block in section.blocks if isinstance(block, kind)]


def notices(section: Section, tone: str) -> list[str]:
    return [n.text for n in only(section, Notice) if n.tone == tone]


def table(section: Section, head: str) -> list[Sequence[str]]:
    return next(t.rows for t in only(section, Table) if t.columns[0] == head)


def test_flow_counts_each_loss_with_its_reason() -> None:
    (flow,) = only(build_cohort_section([Cohort("c", ["r"], ROWS, QC)]), Flow)
    assert [(step.count, list(step.lost)) for step in flow.steps] == [
        (9, [("no pixels", 2), ("lateral view", 1)]),
        (6, [("no label", 1)]),
        (5, [("in no set", 1)]),
        (4, [("with a suspect mask", 1), ("without a mask", 1)]),
        (2, []),
    ]
    for before, after in zip(flow.steps, flow.steps[1:], strict=False):
        assert before.count - sum(n for _, n in before.lost) == after.count


def test_flow_ends_with_the_sets_before_masks_are_made() -> None:
    (flow,) = only(build_cohort_section([Cohort("c", ["r"], ROWS)]), Flow)
    assert [step.count for step in flow.steps] == [9, 6, 5, 4]


def test_sets_and_sources() -> None:
    section = build_cohort_section([Cohort("c", ["r"], ROWS, QC)])
    assert table(section, "set") == [
        ("train", "1", "2", "1", "4", "2"),
        ("test", "1", "0", "0", "1", "unknown"),
        ("in no set", "1", "0", "0", "1", "unknown"),
    ]
    assert table(section, "class") == [
        ("sick", "3", "0"),
        ("well", "1", "1"),
        ("no label", "1", "0"),
    ]


def test_a_class_from_one_of_several_sources_is_warned_of() -> None:
    warnings = notices(build_cohort_section([Cohort("c", ["r"], ROWS, QC)]), "warning")
    assert len(warnings) == 1
    assert "sick (A)" in warnings[0]
    assert "well" not in warnings[0]


def test_no_warning_with_one_source_alone_or_with_mixed_classes() -> None:
    alone = [row(key=str(i), label=c) for i, c in enumerate("abab")]
    mixed = [*alone, row(key="8", label="a", source="B"), row(key="9", label="b", source="B")]
    for rows in (alone, mixed):
        assert notices(build_cohort_section([Cohort("c", ["r"], rows)]), "warning") == []


def test_a_test_set_does_not_hide_one_source_training() -> None:
    rows = [
        row(key="1", label="a"),
        row(key="2", label="b", source="B"),
        row(key="3", label="a", source="B", set="test"),
        row(key="4", label="b", source="A", set="test"),
    ]
    (warning,) = notices(build_cohort_section([Cohort("c", ["r"], rows)]), "warning")
    assert "a (A)" in warning
    assert "b (B)" in warning


def test_unknown_sources_are_said_to_be_unknown() -> None:
    rows = [row(key="1", label="a", source="")]
    (notice,) = notices(build_cohort_section([Cohort("c", ["r"], rows)]), "info")
    assert "not known" in notice


def test_multilabel_counts_a_image_for_each_of_its_labels() -> None:
    assert list_classes(row(label="tb=1;old=0;x=?"), "multilabel") == ["tb"]
    assert list_classes(row(label="tb=1;old=1"), "multilabel") == ["tb", "old"]
    assert list_classes(row(label="tb=0;old=0"), "multilabel") == ["none of the labels"]
    assert list_classes(row(label="tb=?;old=?"), "multilabel") == ["no label"]
    assert list_classes(row(label=""), "multilabel") == ["no label"]
    assert list_classes(row(label="a=b=1"), "multilabel") == ["a=b"]


def test_missing_stages_are_explained() -> None:
    cohort = Cohort("c", ["r"], missing={"ingest": "isnet ingest", "masks": "isnet masks"})
    assert "isnet ingest" in notices(build_cohort_section([cohort]), "empty")[0]
    assert "isnet masks" in notices(build_masks_section([cohort], [[]]), "empty")[0]


def test_masks_by_origin_and_reason() -> None:
    tile = Picture("data:image/png;base64,", "a")
    section = build_masks_section([Cohort("c", ["r"], ROWS, QC)], [[tile]])
    format_percent = "25.0\N{NO-BREAK SPACE}%"
    assert table(section, "origin of the mask") == [
        ("file", "3", "1", "1", format_percent),
        ("lung-unet", "1", "0", "0", format_percent),
    ]
    assert sorted(table(section, "why a mask is suspect or missing")) == [
        ("no file", "1"),
        ("one lung", "1"),
        ("small area", "1"),
    ]
    assert only(section, Grid)[0].pictures == [tile]


def test_what_becomes_of_doubtful_masks_follows_the_setting() -> None:
    def said(on_suspect: str) -> str:
        section = build_cohort_section([Cohort("c", ["r"], ROWS, QC, on_suspect=on_suspect)])
        return " ".join(getattr(b, "text", "") for b in section.blocks)

    assert "left out of training" in said("exclude")
    assert "used like all others" in said("keep")


def test_several_cohorts_are_told_apart() -> None:
    section = build_cohort_section([Cohort("c", ["r", "s"], ROWS), Cohort("d", ["t"], ROWS[:2])])
    assert len(only(section, Flow)) == 2
    texts = " ".join(getattr(b, "text", "") for b in section.blocks)
    assert "r, s" in texts
    assert "ingested in d" in texts
