"""Names of the training methods and what each needs; importable without torch.

A method is a class (`isnet_models.methods.base.Method`) in a file of its own, a record of settings
in `isnet_models.methods.settings`, and one line in `ENTRIES`.
An addition changes the training of the method before it: ``isnet+background_mix``.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from isnet_models.methods.base import Context, Method
    from isnet_models.methods.settings import MethodSettings

Need = Literal["masks", "one label", "rules", "range", "feature map", "teacher", "segmenter"]
NEEDS: dict[Need, str] = {
    "masks": "a lung mask for every training image",
    "one label": "one class per image (data.labels.task: multiclass)",
    "rules": "a relevance rule for every operation of the network",
    "range": "the range of relevance in which the heat-map loss is free",
    "feature map": "a network that ends in a convolutional feature map",
    "teacher": "a trained run to learn from",
    "segmenter": "the lung U-Net",
}
BASE = "standard"  # what an addition named alone is added to


@dataclass(frozen=True)
class Entry:
    """A training method, or an addition to one.

    Attributes:
        name: As `train.method` has it.
        home: ``module:class`` below `isnet_models.methods`.
        settings: Class of its settings in `isnet_models.methods.settings`.
        summary: What is done, one sentence.
        source: Where it was published, or "".
        needs: What must be there; keys of `NEEDS`.
        explains: Its usual explanation; `heatmap.method: own` makes it.
        addition: Whether it changes another method's training instead of being one.
        own_network: Whether it brings its network along, so that `model.arch` is not used.
    """

    name: str
    home: str
    summary: str
    source: str = ""
    settings: str = "NoSettings"
    needs: tuple[Need, ...] = ()
    explains: Literal["lrp", "grad_input", "gradcam", "attention_rollout"] = "lrp"
    addition: bool = False
    own_network: bool = False

    def load(self) -> type[Method]:
        """The class, imported now, with torch."""
        module, _, name = self.home.partition(":")
        found: type[Method] = getattr(
            importlib.import_module(f"isnet_models.methods.{module}"), name
        )
        return found

    def settings_class(self) -> type[MethodSettings]:
        """The class of its settings, imported now, without torch."""
        module = importlib.import_module("isnet_models.methods.settings")
        found: type[MethodSettings] = getattr(module, self.settings)
        return found


NATURE = "Bassi et al., Nature Communications 15:291 (2024)"
FASTER = "Bassi et al., IEEE Access 12:155151 (2024)"

ENTRIES: tuple[Entry, ...] = (
    Entry("standard", "standard:Standard", "classification loss alone"),
    Entry(
        "isnet", "guided.isnet:ISNet", "classification, and LRP relevance held inside the lungs",
        f"{NATURE}; {FASTER}", needs=("masks", "rules", "range"),
        settings="ISNetSettings",
    ),
    Entry(
        "grad_input", "guided.isnet:GradInput",
        "the ISNet with gradient x input maps of all classes",
        NATURE, needs=("masks", "rules", "range"), explains="grad_input",
        settings="GradInputSettings",
    ),
    Entry(
        "segment_then_classify", "segmentation.segment_then_classify:SegmentThenClassify",
        "a frozen lung U-Net blackens what is no lung, a classifier sees the rest",
        NATURE, needs=("segmenter", "masks"),
        settings="SegmentSettings",
    ),
    Entry(
        "multitask_unet", "segmentation.multitask_unet:MultitaskUNet",
        "one U-Net learns the lung masks, and the classes from its coarsest features",
        NATURE, own_network=True,
        settings="MultitaskSettings",
    ),
    Entry(
        "ag_sononet", "attention.ag_sononet:AGSononet",
        "a network of convolutions with attention gates, classification loss alone",
        "Schlemper et al., Medical Image Analysis 53:197 (2019)", own_network=True,
        settings="SononetSettings",
    ),
    Entry(
        "vit", "attention.vit:ViT", "a vision transformer, classification loss alone",
        "Dosovitskiy et al., ICLR 2021; maps: Abnar and Zuidema, ACL 2020",
        explains="attention_rollout", own_network=True,
        settings="ViTSettings",
    ),
    Entry(
        "background_mix", "background.background_mix:BackgroundMix",
        "some images of each batch get another image's background",
        "Xiao et al., arXiv 2006.09994 (2020); Bransby et al., arXiv 2406.19148 (2024)",
        needs=("masks",), addition=True,
        settings="BackgroundMixSettings",
    ),
    Entry(
        "masked_mix", "background.masked_mix:MaskedMix",
        "images with and without their background, and the same answer asked for both",
        "Viviano et al., ICLR (2021), arXiv 1910.00199", needs=("masks",), addition=True,
        settings="MaskedMixSettings",
    ),
    Entry(
        "distillation", "guided.distillation:Distillation",
        "a student learns the relevance maps of a trained run that sees the lungs alone",
        "Bassi et al., arXiv 2407.09788 (2024)", needs=("masks", "rules", "teacher"),
        settings="DistillationSettings",
    ),
    Entry(
        "softmax_grad_input", "guided.isnet:SoftmaxGradInput",
        "the ISNet with one gradient x input map, of the largest softmax probability",
        FASTER, needs=("masks", "one label", "rules", "range"), explains="grad_input",
        settings="GradInputSettings",
    ),
    Entry(
        "rrr", "guided.rrr:RRR",
        "right for the right reasons: input gradients held inside the lungs",
        "Ross et al., IJCAI 2017 (arXiv 1703.03717)", needs=("masks",), explains="grad_input",
        settings="RRRSettings",
    ),
    Entry(
        "gain", "guided.gain:GAIN",
        "extended GAIN: Grad-CAM maps held to the lungs, attention mining",
        "Li et al., CVPR 2018", needs=("masks", "feature map"), explains="gradcam",
        settings="GAINSettings",
    ),
    Entry(
        "ham", "attention.ham:HAM",
        "hierarchical attention mining: class maps inside an abnormality map",
        "Ouyang et al., IEEE TMI 40:2698 (2021)", needs=("masks", "feature map"),
        explains="gradcam",
        settings="HAMSettings",
    ),
)  # fmt: skip


def names(entries: Sequence[Entry] = ENTRIES) -> tuple[str, ...]:
    """All names, in order."""
    return tuple(entry.name for entry in entries)


def parts(method: str, entries: Sequence[Entry] = ENTRIES) -> list[Entry]:
    """The method and its additions, in order; an addition named first is added to `BASE`.

    Args:
        method: ``isnet``, ``isnet+background_mix``, ``background_mix``.
        entries: Where names are looked up.

    Raises:
        ValueError: Unknown name (with the nearest), a name twice, or two methods that are no
            additions.
    """
    table = {entry.name: entry for entry in entries}
    found: list[Entry] = []
    for name in (word.strip() for word in method.split("+")):
        if name not in table:
            close = difflib.get_close_matches(name, table, n=1)
            hint = f"; did you mean '{close[0]}'?" if close else ""
            raise ValueError(f"'{name}' is unknown, expected one of {', '.join(table)}{hint}")
        entry = table[name]
        if not found and entry.addition:
            found.append(table[BASE])
        if entry in found:
            raise ValueError(f"'{name}' is named twice")
        if found and not entry.addition:
            raise ValueError(
                f"'{name}' is a method of its own and cannot be added to '{found[0].name}'; "
                f"additions are {', '.join(e.name for e in entries if e.addition)}"
            )
        found.append(entry)
    return found


def needs(method: str, entries: Sequence[Entry] = ENTRIES) -> set[Need]:
    """What a method and its additions need together.

    Raises:
        ValueError: As `parts`.
    """
    return {need for entry in parts(method, entries) for need in entry.needs}


def make(
    method: str,
    context: Context,
    settings: Mapping[str, Any] | None = None,
    entries: Sequence[Entry] = ENTRIES,
) -> Method:
    """The method with its additions around it, ready to train.

    Args:
        method: As in `parts`.
        context: What methods may use besides their settings.
        settings: Settings record by name; absent ones have their defaults.
        entries: Where names are looked up.

    Raises:
        ValueError: As `parts`; or from a method that lacks something in `context`.
    """
    given = settings or {}
    first, *additions = parts(method, entries)
    built = first.load()(given.get(first.name), context)
    for entry in additions:
        built = entry.load()(given.get(entry.name), context, built)
    return built
