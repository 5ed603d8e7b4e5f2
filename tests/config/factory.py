"""Hypothesis strategies for whole configurations, made from the schema itself."""

from __future__ import annotations

import os
import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from isnet_cli.config.checks import check
from isnet_cli.config.load import PATHS
from isnet_cli.config.schema import Config, Word

TEXT = st.text(max_size=12).filter(lambda text: text.strip() != "")
PATH = TEXT.filter(lambda text: "\0" not in text).map(lambda t: os.path.normpath(f"/base/{t}"))
SPECIAL: dict[tuple[str, ...], st.SearchStrategy[Any]] = {
    ("name",): st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,8}\Z"),
    ("machine", "device"): st.sampled_from(["auto", "cpu", "mps", "cuda", "cuda:3"]),
    ("masks", "model"): st.just("lung-unet"),
    ("masks", "postprocess", "dilate_mm"): st.just(0.0),  # one kind of width at most
    ("masks", "postprocess", "dilate_px"): st.just(0.0),
    ("model", "normalisation"): st.sampled_from(
        ["auto", "none", "imagenet", "half", "txv", ((0.5,), (0.25,)), ((0.5,) * 3, (1.0,) * 3)]
    ),
    ("train", "schedule", "milestones"): st.sets(st.integers(1, 99)).map(sorted),
    ("train", "schedule", "warmup_epochs"): st.just(0),
    ("train", "before"): st.lists(
        st.fixed_dictionaries(
            {
                "method": st.sampled_from(["standard", "background_mix", "isnet"]),
                "share": st.floats(0.1, 0.3),
            },
            optional={"lr_factor": st.floats(0.1, 10.0)},
        ),
        max_size=3,
    ),
    ("train", "class_weights"): st.sampled_from(["none", "balanced"]),
    ("train", "method"): st.sampled_from(["standard", "isnet", "grad_input"]),
    ("train", "settings"): st.fixed_dictionaries(
        {},
        optional={
            "isnet": st.fixed_dictionaries(
                {},
                optional={
                    "background_weight": st.floats(0.5, 2.0),
                    "heatmap_weight": st.one_of(
                        st.floats(0, 1),
                        st.dictionaries(st.integers(1, 60), st.floats(0, 1)).map(
                            lambda schedule: {0: 0.5, **schedule}
                        ),
                    ),
                    "layers": st.just("none") | st.lists(TEXT, max_size=3),
                    "relevance_range": st.dictionaries(TEXT, st.just([0.5, 2]), max_size=2),
                    "variant": st.sampled_from(["flex", "original", "stochastic"]),
                },
            ),
            "gain": st.fixed_dictionaries({}, optional={"threshold": st.floats(-1e6, 1e6)}),
            "distillation": st.fixed_dictionaries({}, optional={"teacher": PATH}),
        },
    ),
    ("data", "labels", "classes"): st.none() | st.lists(TEXT, max_size=4, unique=True),
    # collections share what data.labels says
    ("data", "collections", "*", "labels", "classes"): st.none(),
    ("data", "collections", "*", "labels", "task"): st.just("multiclass"),
    ("data", "collections", "*", "labels", "uncertain"): st.just("ignore"),
    ("data", "sets", "*", "only"): st.none(),  # of one class per image, without source
    ("data", "sets", "*", "fraction"): st.none() | st.floats(0, 0.1),
    ("heatmap", "target"): st.sampled_from(["predicted", "true", "all"]),
    ("bias", "shapes"): st.none() | st.just(["circle", "square"]),
}


def configs() -> st.SearchStrategy[Config]:
    """Valid configurations with any values that the schema allows."""
    return _model(Config, ()).map(Config.model_validate).filter(lambda config: not check(config))


def _model(model: type[BaseModel], key: tuple[str, ...]) -> st.SearchStrategy[dict[str, Any]]:
    entries = {name: _field(info, (*key, name)) for name, info in model.model_fields.items()}
    needed = {n: entries.pop(n) for n, info in model.model_fields.items() if info.is_required()}
    return st.fixed_dictionaries(needed, optional=entries)


def _field(info: FieldInfo, key: tuple[str, ...]) -> st.SearchStrategy[Any]:
    special = SPECIAL.get(key)
    return special if special is not None else _type(info.annotation, info.metadata, key)


def _type(  # noqa: PLR0911 - one branch per kind of type
    annotation: Any, bounds: list[Any], key: tuple[str, ...]
) -> st.SearchStrategy[Any]:
    word = next((mark.word for mark in bounds if isinstance(mark, Word)), None)
    if word is not None:
        plain = [part for part in get_args(annotation) if part is not type(None)]
        rest = [b for b in bounds if not isinstance(b, Word)]
        return st.just(word) | st.one_of(*(_type(part, rest, key) for part in plain))
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(inside[0], list(inside[1].metadata), key)
    if origin is Literal:
        return st.sampled_from(inside)
    if origin in (Union, types.UnionType):
        return st.one_of(*(_type(branch, bounds, key) for branch in inside))
    if origin is list:
        return st.lists(_type(inside[0], [], key), max_size=3)
    if origin is tuple:
        return st.tuples(*(_type(part, [], key) for part in inside))
    if origin is dict:
        return st.dictionaries(TEXT, _type(inside[1], [], (*key, "*")), max_size=2)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _model(annotation, key)
    return _scalar(annotation, bounds, key)


def _scalar(annotation: Any, bounds: list[Any], key: tuple[str, ...]) -> st.SearchStrategy[Any]:
    low = next((b.ge for b in bounds if isinstance(b, Ge)), None)
    high = next((b.le for b in bounds if isinstance(b, Le)), None)
    above = next((b.gt for b in bounds if isinstance(b, Gt)), None)
    below = next((b.lt for b in bounds if isinstance(b, Lt)), None)
    if annotation is type(None):
        return st.none()
    if annotation is bool:
        return st.booleans()
    if annotation is int:
        return st.integers(low, high if high is not None else (below or 10**6) - 1)
    if annotation is float:
        top = high if high is not None else below if below is not None else 1e6
        return st.floats(
            low if low is not None else above if above is not None else -1e6,
            top,
            exclude_min=above is not None,
            exclude_max=below is not None,
        )
    assert annotation is str, (annotation, key)
    return PATH if key in PATHS else TEXT
