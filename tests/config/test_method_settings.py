"""Settings of methods are as strict as the configuration itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from isnet_cli.config.method_settings import SettingError, settings_record


@dataclass(frozen=True)
class Record:
    """Settings of an invented method."""

    share: float = 0.5
    layers: tuple[int, ...] = ()
    soft: bool = False

    def __post_init__(self) -> None:
        if self.share < 0:
            raise ValueError("share: found a negative number")


def test_values_and_defaults() -> None:
    assert settings_record(Record, {}) == Record()
    assert settings_record(Record, {"share": 1, "layers": [2, 3]}) == Record(1.0, (2, 3))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"shares": 1.0}, "shares: no such setting, expected share or layers or soft"),
        ({"share": "half"}, "share: found 'half'"),
        ({"share": float("nan")}, "share: found nan"),
        ({"soft": 1}, "soft: found 1"),
        ({"layers": ["a"]}, "layers.0: found 'a'"),
        ({"share": -1.0}, "share: found a negative number"),
    ],
)
def test_faults_name_the_setting(given: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        settings_record(Record, given)
