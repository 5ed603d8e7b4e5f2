"""The template loads as it is and says nothing that the schema does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from isnet_cli.config.load import changed_keys, load, plain
from isnet_cli.config.schema import Config
from isnet_cli.config.template import template


def loaded(text: str, folder: Path) -> Config:
    path = folder / "isnet.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    return load(path)


def test_values_are_the_defaults(tmp_path: Path) -> None:
    config = loaded(template(name="isnet", images="xrays"), tmp_path)
    assert changed_keys(plain(Config()), plain(config)) == ["data.images"]
    assert config.data.images == str(tmp_path / "xrays")


def test_what_was_found_is_filled_in(tmp_path: Path) -> None:
    text = template(
        name="tb",
        images="./images",
        count=12,
        labels="./labels: new.csv",
        matched=11,
        task="multilabel",
        columns=["covid", "on", "a, b"],
        classes=["a, b", "covid", "on"],
        sources=["here", "there"],
        masks="./masks",
        masked=10,
    )
    config = loaded(text, tmp_path)
    assert config.name == "tb"
    assert config.data.labels.file == str(tmp_path / "labels: new.csv")
    assert config.data.labels.task == "multilabel"
    assert config.data.labels.columns == ["covid", "on", "a, b"]
    assert config.masks.files == str(tmp_path / "masks")
    assert config.train.settings_of("isnet").variant == "auto"
    for words in ("12 files found", "11 of 12 images", "10 of 12", "Sources found: here, there"):
        assert words in text


def test_comments_of_values_stand_in_one_column() -> None:
    lines = template(name="tb", images="./x").splitlines()
    columns = {line.index("  # ") for line in lines if "  # " in line and line[:1] != " " * 2 + "#"}
    assert len({c for c in columns if c > 10}) == 1


def test_the_commented_example_is_valid(tmp_path: Path) -> None:
    lines = template(name="tb", images="./x").splitlines()
    start = lines.index("  # sets:")
    sets = [line.replace("# ", "", 1) for line in lines[start : start + 5]]
    tree: dict[str, Any] = yaml.safe_load("\n".join(sets))
    Config.model_validate({"data": tree})
    config = loaded("data:\n" + "\n".join(sets), tmp_path)
    assert list(config.data.sets) == ["train", "val", "test", "other_hospital"]


@pytest.mark.parametrize("classes", [["a"] * 20, ["x\ny # z"]])
def test_many_and_odd_class_names_stay_in_their_comment(classes: list[str], tmp_path: Path) -> None:
    loaded(template(name="tb", images="./x", classes=classes), tmp_path)


def test_any_path_survives(tmp_path: Path) -> None:
    names = st.text(min_size=1).filter(lambda t: t.strip() and "\0" not in t and t[0] not in "~/")

    @given(names)
    def check(name: str) -> None:
        config = loaded(template(name="a", images=f"./{name}", labels=f"./{name}"), tmp_path)
        assert config.data.images == config.data.labels.file

    check()
