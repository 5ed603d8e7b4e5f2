"""Methods of explanation by name: what each is called, what it promises, how it is run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isnet_cli.config.checks import method_faults
from isnet_cli.errors import IsnetError
from isnet_cli.inference.predictor import Predictor, Seen, memory_guard
from isnet_models.explanations.explanation import Explanation, MethodError, explained_classes
from isnet_models.explanations.gradcam import grad_cam
from isnet_models.explanations.path_gradients import STEPS, integrated_gradients
from isnet_models.explanations.rollout import attention_rollout
from isnet_models.methods import registry

_CONVOLUTIONS = "train a network of convolutions, BatchNorm and ReLU (densenet121, resnet18, ...)"


@dataclass(frozen=True)
class Method:
    """How maps of a method are spoken of and drawn.

    Attributes:
        title: Its name in captions.
        amount: What shares and colour limits are measured of.
        signed: Whether values speak for and against the class.
        smoothed: Whether the picture takes off pixel noise.
        of_class: Whether a map is about one class.
        above_even: Whether pictures show what exceeds an even map; of values that are spread over
            the whole image, nothing else could be seen.
    """

    title: str
    amount: str
    signed: bool = True
    smoothed: bool = True
    of_class: bool = True
    above_even: bool = False


METHODS = {
    "lrp": Method("Relevance", "|relevance|"),
    "gradcam": Method("Grad-CAM", "the map", signed=False, smoothed=False),
    "grad_input": Method(
        "Gradient \N{MULTIPLICATION SIGN} input", "|gradient \N{MULTIPLICATION SIGN} input|"
    ),
    "integrated_gradients": Method("Integrated gradients", "|attribution|"),
    "attention_rollout": Method(
        "Attention rollout",
        "the attention",
        signed=False,
        smoothed=False,
        of_class=False,
        above_even=True,
    ),
}


def choose_method(predictor: Predictor) -> str:
    """Name of the method that the configuration asks for.

    ``own`` is the explanation that belongs to the model's training method.
    """
    asked: str = predictor.config.heatmap.method
    return registry.parts(predictor.model.card["method"])[0].explains if asked == "own" else asked


def read_method(predictor: Predictor) -> Method:
    """The method that the configuration asks for."""
    return METHODS[choose_method(predictor)]


def describe_method(predictor: Predictor) -> str:
    """The method in one word or two, for the index: ``gradcam``, ``lrp flex``, ``lrp z+``."""
    method = choose_method(predictor)
    family = predictor.config.heatmap.family or predictor.model.card["heatmap"]["family"]
    return f"lrp {family}" if method == "lrp" else method


def explain(
    predictor: Predictor, images: Tensor, target: Any
) -> tuple[Seen, NDArray[np.float32], NDArray[np.float64]]:
    """What the model says of `images`, with maps by the configured method.

    Args:
        predictor: Model and configuration.
        images: [B, C, h, w] in [0, 1].
        target: ``predicted``, ``all``, or class indices [B].

    Returns:
        Outputs; maps [B, N, C', h, w]; what each map should sum to [B, N], NaN where the method
        promises no sum.

    Raises:
        IsnetError: Kind "machine", when the device's memory does not suffice.
    """
    if choose_method(predictor) in ("lrp", "grad_input"):
        seen, maps = predictor.explain(images, target, _rules(predictor))
        logits = torch.from_numpy(seen.logits)
        return seen, maps, logits.gather(1, explained_classes(logits, target)).numpy()
    with memory_guard(len(images)):
        found = _run(predictor, images.to(predictor.device), target)
    maps = found.maps.float().cpu().numpy()
    totals = np.full(maps.shape[:2], np.nan)
    if found.total is not None:
        totals = found.total.double().cpu().numpy()
    return predictor.seen(found.logits), maps, totals


def check_method(predictor: Predictor) -> None:
    """Tries the method on a black image.

    Raises:
        IsnetError: Kind "config": the method is not defined for this network, or settings do not
            go with it.
    """
    method = choose_method(predictor)
    for key, said in method_faults(predictor.config.heatmap, method):
        fix = "--target predicted" if key[-1] == "target" else "heatmap.family: own"
        raise IsnetError("config", f"{'.'.join(map(str, key))}: {said}", fix=fix)
    if method in ("lrp", "grad_input"):
        why = predictor.no_rule(_rules(predictor))
        if why:
            raise IsnetError(
                "config",
                f"model: no relevance maps: {why}",
                fix=f"{_CONVOLUTIONS}, or --method integrated_gradients",
            )
        return
    blank = torch.zeros(1, predictor.config.model.channels, *predictor.config.model.input)
    try:
        _run(predictor, blank.to(predictor.device), "predicted", steps=1)
    except MethodError as error:
        other = "gradcam" if method == "attention_rollout" else "attention_rollout"
        raise IsnetError(
            "config",
            f"heatmap.method: {method} is not defined for {predictor.config.model.arch}: {error}",
            fix=f"--method lrp, or --method {other}",
        ) from error


def _run(predictor: Predictor, images: Tensor, target: Any, steps: int = STEPS) -> Explanation:
    net, method = predictor.model.net, choose_method(predictor)
    if method == "attention_rollout":
        return attention_rollout(net, images)
    if method == "gradcam":
        return grad_cam(net, images, target)
    return integrated_gradients(net, images, target, steps=steps)


def _rules(predictor: Predictor) -> dict[str, Any]:
    heat = predictor.config.heatmap
    if choose_method(predictor) == "grad_input":
        return {"family": "flex", "epsilon": 0.0, "zb": None}
    return {} if heat.family is None else {"family": heat.family}
