"""Settings of a training method: from a plain tree to the method's own record, strictly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_type_hints

from pydantic import ConfigDict, ValidationError, create_model


class SettingError(ValueError):
    """A setting that the method does not have, or a value it does not take."""


def settings_record(kind: type, given: Mapping[str, Any]) -> Any:
    """A record of `kind` with the given fields, the others at their defaults.

    Args:
        kind: A frozen dataclass with a default for each field.
        given: Field -> value, as YAML has it (lists stand for tuples).

    Raises:
        SettingError: Unknown field, wrong type, or a value that the record refuses; the text
            begins with the field's name.
    """
    names = [field.name for field in fields(kind)]
    for name in given:
        if name not in names:
            raise SettingError(
                f"{name}: no such setting, expected {' or '.join(names) if names else 'none'}"
            )
    hints = get_type_hints(kind)
    strict = ConfigDict(strict=True, allow_inf_nan=False)
    types: Any = {name: (hints[name], ...) for name in given}
    form = create_model(kind.__name__, __config__=strict, **types)
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
    try:
        return kind(**{name: getattr(form.model_validate(values), name) for name in given})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SettingError(f"{where}: found {first['input']!r}: {first['msg']}") from error
    except ValueError as error:  # the record's own check
        raise SettingError(str(error)) from error
