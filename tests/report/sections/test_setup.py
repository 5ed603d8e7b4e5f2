"""Setup: configuration, differences between runs, versions, stages, hashes."""

from isnet_cli.report.blocks import Code, Fold, Notice, Table
from isnet_cli.report.sections.setup import build_configuration_section, build_versions_section
from tests.report.sections.factory import only, run, said

IMAGES = {f"x/{i:02d}.png": "b" * 64 for i in range(20)}
RECORD = {
    "versions": {"isnet": "0.1.0", "torch": "2.6"},
    "stages": {
        "ingest": {
            "status": "done", "started": "2026-01-01T10:00:00+00:00", "fingerprint": "f" * 64,
            "finished": "2026-01-01T10:05:00+00:00",
            "outputs": {"manifest.csv": "a" * 64, **IMAGES},
        },
        "masks": {"status": "running", "started": "2026-01-01T10:06:00+00:00"},
    },
}  # fmt: skip


def test_settings_that_differ_are_listed_alone() -> None:
    one, two = run("one"), run("two", settings={"seed": 4, "train": {"method": "isnet"}})
    (table,) = only(build_configuration_section([one, two]), Table)
    assert table.rows == [("seed", "3", "4"), ("train.select", "loss", "none")]
    assert "same settings" in said(build_configuration_section([one, run("two")]))
    assert only(build_configuration_section([one]), Table) == []


def test_yaml_of_each_run_or_a_word_that_there_is_none() -> None:
    section = build_configuration_section([run("one", settings_text="seed: 3\n"), run("two")])
    (code,) = only(section, Code)
    assert code.text == "seed: 3\n"
    assert "two" in only(section, Notice)[0].text


def test_versions_stages_and_hashes() -> None:
    section = build_versions_section([run("one", record=RECORD), run("two")])
    software, stages = only(section, Table)
    assert software.rows == [("isnet", "0.1.0", "n/a"), ("torch", "2.6", "n/a")]
    assert stages.rows[0][:3] == ("one", "ingest", "done")
    assert stages.rows[0][3:] == ("2026-01-01T10:00:00", "2026-01-01T10:05:00", "f" * 12)
    assert stages.rows[1][2:5] == ("running", "2026-01-01T10:06:00", "n/a")
    (fold,) = only(section, Fold)
    assert fold.table.rows[0] == ("one", "ingest/manifest.csv", "a" * 64)
    assert "9 more files" in fold.table.rows[-1][1]


def test_an_empty_record_says_so() -> None:
    assert only(build_versions_section([run()]), Notice)[0].tone == "empty"
