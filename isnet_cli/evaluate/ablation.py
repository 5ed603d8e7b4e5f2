"""What a classifier of cut-out lungs is worth without its segmenter: `evaluate.segmenter`."""

from __future__ import annotations

import dataclasses

from isnet_cli.errors import IsnetError
from isnet_cli.inference.predictor import Predictor
from isnet_models.methods.segmentation.segment_then_classify import LungsOnly


def with_segmenter(predictor: Predictor) -> Predictor:
    """`predictor` as `evaluate.segmenter` asks: unchanged, or its classifier gets whole images.

    The card's ``segmenter.used`` then says so (``segment`` or ``whole``).

    Raises:
        IsnetError: Kind "config": the model has no segmenter that could be left out.
    """
    net, card = predictor.model.net, predictor.model.card
    asked = predictor.config.evaluate.segmenter
    if not isinstance(net, LungsOnly):
        if asked:
            return predictor
        raise IsnetError(
            "config",
            f"evaluate.segmenter: false, but a model of method {card['method']} has no segmenter",
            fix="evaluate.segmenter: true",
        )
    if not asked:
        net.at_test = "whole"
    said = {**card, "segmenter": {**card["segmenter"], "used": net.at_test}}
    return dataclasses.replace(predictor, model=dataclasses.replace(predictor.model, card=said))
