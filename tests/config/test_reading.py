"""The keys of a card's reading are keys of the configuration, and a card has them all."""

from __future__ import annotations

from isnet_cli.config.reading import READING
from isnet_cli.config.schema import Config
from isnet_cli.inference.model_files import reading


def test_every_key_is_one_of_the_configuration() -> None:
    config = Config()
    for section, keys in READING.items():
        assert set(keys) <= set(type(getattr(config, section)).model_fields)


def test_a_card_says_all_of_them() -> None:
    found = reading(Config())
    assert {section: set(keys) for section, keys in READING.items()} == {
        section: set(values) for section, values in found.items()
    }
