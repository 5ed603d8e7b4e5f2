"""The value types keep identity out of sight."""

from __future__ import annotations

from isnet_cli.images.types import ROW_FIELDS, Identity, Row


def test_identity_is_not_shown() -> None:
    shown = repr(Identity("CANARY^PHI", "ACC-CANARY", "1.2.3"))
    assert "CANARY" not in shown
    assert "1.2.3" not in shown


def test_rows_have_no_identifying_field() -> None:
    assert ROW_FIELDS[0] == "key"
    assert not {"name", "patient_id", "accession", "uid", "birth_date"} & set(ROW_FIELDS)
    assert Row("a").status == "ok"
