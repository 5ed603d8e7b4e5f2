from __future__ import annotations

from pathlib import Path

import pytest

from isnet_cli.config.schema import Columns, Labels
from isnet_cli.errors import IsnetError
from isnet_cli.labels.column_names import ROLE_NAMES, STATED, list_names, plain, require_column
from isnet_cli.labels.columns import find_roles
from isnet_cli.labels.csv_table import CsvTable


def table(header: str, *rows: str) -> CsvTable:
    cells = tuple(tuple(row.split(",")) for row in rows)
    columns = tuple(header.split(","))
    return CsvTable(Path("l.csv"), columns, cells, tuple(range(2, 2 + len(rows))), ",", "utf-8")


@pytest.mark.parametrize("role", sorted(ROLE_NAMES))
def test_each_usual_name_is_found_whatever_its_spelling(role: str) -> None:
    for name in ROLE_NAMES[role]:
        for spelled in (name, name.upper(), f"{name[:3]}_{name[3:]}", f" {name} "):
            roles = find_roles(table(f"file,{spelled},label", "a,b,c"), Labels(), Columns())
            found = getattr(roles, role)
            assert found == ((spelled,) if role in {"mask", *STATED} else spelled)


def test_names_are_compared_without_case_and_signs() -> None:
    assert plain("Patient-ID (hash)") == "patientidhash"


def test_nothing_is_found_twice_for_two_roles() -> None:
    roles = find_roles(table("path,dataset,split,class", "a,b,c,d"), Labels(), Columns())
    assert (roles.source, roles.set, roles.label) == ("dataset", "split", ("class",))
    assert roles.used() == {"dataset", "split", "class"}


def test_findings_are_the_columns_of_zeros_and_ones() -> None:
    header = "column 1,id,Age,Sex,Edema,Mass,weight,Fold"
    found = table(header, "0,7,50,1,1,0,80,1", "1,8,60,0,,-1,90,0")
    roles = find_roles(found, Labels(task="multilabel"), Columns())
    assert roles.label == ("Edema", "Mass")
    chosen = find_roles(found, Labels(task="multilabel", classes=["Mass"]), Columns())
    assert chosen.label == ("Mass",)


def test_none_switches_a_role_off_and_auto_does_not_guess_between_two() -> None:
    both = table("file,site,center,label", "a,b,c,d")
    assert find_roles(both, Labels(), Columns(source="none")).source == ""
    assert find_roles(both, Labels(), Columns(source="center")).source == "center"
    with pytest.raises(IsnetError, match="may all be the source") as caught:
        find_roles(both, Labels(), Columns())
    assert caught.value.fix.startswith("data.columns.source: site")


def test_a_missing_column_names_all_and_the_nearest() -> None:
    with pytest.raises(IsnetError, match="no column 'Lable', found 'file', 'label'") as caught:
        require_column(table("file,label"), "Lable", "data.labels.columns: [{}]")
    assert caught.value.fix == "data.labels.columns: [label]"


def test_long_lists_are_cut() -> None:
    assert list_names([str(n) for n in range(15)], 3) == "'0', '1', '2' and 12 more"
