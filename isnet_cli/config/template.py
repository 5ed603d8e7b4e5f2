"""The commented ``isnet.yaml`` of `isnet init`, filled with what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from isnet_cli.config.yaml_tree import write
from isnet_cli.text.forms import for_line

_MARK = "\0"  # between a value and its comment; YAML text of a value never holds it
_TEXT = """\
# isnet: chest X-ray classifiers that look at the lungs.
#   isnet check {file}      what would happen, what is wrong; writes nothing
#   isnet run {file}        everything; the same command continues or refreshes
# Paths start at this file. Keys left out have their defaults; docs/configuration.md has them all.
version: 1
name: {name}\0the run folder is runs/{name}-DATE
seed: 0

data:
  images: {images}\0{images_note}
  labels:
    file: {labels}\0{labels_note}
    key: auto\0how rows find images: auto, file, stem, uid, accession, patient
    task: {task}\0multiclass: one class per image; multilabel: several
    columns: {columns}\0{columns_note}
    classes: {classes}\0{classes_note}
{more}\
  # Sets: without any, train, val and test are split automatically. Named test sets may be external:
  # sets:
  #   train: {{fraction: 0.7}}
  #   val: {{fraction: 0.15}}
  #   test: {{fraction: 0.15}}
  #   other_hospital: {{images: ./hospitalB, labels: {{file: hospitalB.csv}}}}
{sources_note}  split: {{group: patient, stratify: true}}

masks:
  files: {masks}\0{masks_note}
  model: lung-unet\0used where no file is given
  on_suspect: exclude\0exclude, keep or fail: what to do with doubtful masks

model:
  arch: densenet121\0a torchvision network by name; resnet18 is lighter
  input: [224, 224]\0rows, columns

train:
  method: isnet\0after background_mix; or standard: without the heat-map loss
  epochs: 60\0both parts together
  batch_size: 16
  optimizer: {{name: adamw, lr: 0.001}}
  settings:
    isnet:
      heatmap_weight: 0.5\0share of the heat-map loss, 0 to 1
      variant: auto\0by the classes; or selective, stochastic, flex, original, dual

{evaluate}heatmap:
  target: predicted\0predicted, true, all or the name of a class
  limit: 50\0images per set, or all
"""
COLUMN = 34  # of the comments
MAX_NAMES = 8  # shown in a comment


def template(
    *,
    name: str,
    images: str,
    file: str = "isnet.yaml",
    count: int | None = None,
    labels: str | None = None,
    matched: int = 0,
    task: str = "multiclass",
    columns: Sequence[str] = (),
    why: str = "",
    repeated: str = "refuse",
    patient: str = "",
    classes: Sequence[str] = (),
    sources: Sequence[str] = (),
    masks: str | None = None,
    masked: int = 0,
    sets: Mapping[str, float | None] | None = None,
    of: str = "",
    annotations: str | None = None,
    drawn: int = 0,
) -> str:
    """YAML text that `isnet_cli.config.load.load` accepts as it is.

    Args:
        name: Name of the run.
        images: Folder of images, as seen from the YAML file.
        file: Name of the YAML file, for the comments.
        count: Number of images found; None when nobody looked.
        labels: Label file, or None for one folder per class.
        matched: Images with a label.
        task: ``multiclass`` or ``multilabel``.
        columns: Label columns; empty to leave them to be found.
        why: Which label columns were found, and why, for the comment.
        repeated: What to make of several rows of one image.
        patient: Column or pattern of the patient; empty to leave it to be found.
        classes: Classes found.
        sources: Collections found.
        masks: Folder of masks, or None for the lung U-Net.
        masked: Images with a mask file.
        sets: Name -> share of the images that the label file gives no set, None for a set that it
            names; empty: none are configured.
        of: What the images are, for the comment; empty: files.
        annotations: File of findings drawn into images, or None.
        drawn: Findings in it.
    """
    among = f" of {count}" if count is not None else ""
    text = _TEXT.format(
        file=file,
        name=_scalar(name),
        images=_scalar(images),
        images_note="folder, file or list" if count is None else f"{count} {of or 'files found'}",
        labels=_scalar(labels or "folders"),
        labels_note=f"{matched}{among} images have a row"
        if labels
        else "folders: a folder per class",
        task=task,
        columns=_scalar(list(columns) or "auto"),
        columns_note=" ".join(why.split()) or "auto: found by their usual names",
        more=_more(repeated, patient, sets or {}),
        classes="auto",
        classes_note=f"found: {_listed(classes)}" if classes else "auto: as found",
        sources_note=f"  # Sources found: {_listed(sources)}\n" if sources else "",
        masks=_scalar(masks or "auto"),
        evaluate=_evaluate(annotations, drawn),
        masks_note=f"{masked}{among} images have one"
        if masks
        else "auto: the lung U-Net makes them",
    )
    return "\n".join(_aligned(line) for line in text.split("\n"))


def _more(repeated: str, patient: str, sets: Mapping[str, float | None]) -> str:
    """Lines of settings that few label files need."""
    lines = ""
    if patient:
        lines += f"  columns:\n    patient: {_scalar(patient)}{_MARK}each in one set only\n"
    if repeated != "refuse":
        lines += f"  repeated: {repeated}{_MARK}rows of one image: any, majority or all\n"
    if sets:
        lines += "  sets:\n"
    for name, share in sets.items():
        said = "the images of the official set" if share is None else "of the images without one"
        entry = "{}" if share is None else f"{{fraction: {share}}}"
        lines += f"    {name}: {entry}{_MARK}{said}\n"
    return lines


def _evaluate(annotations: str | None, drawn: int) -> str:
    if annotations is None:
        return ""
    line = f"  annotations: {_scalar(annotations)}{_MARK}{drawn} findings drawn into images"
    return f"evaluate:\n{line}\n\n"


def _aligned(line: str) -> str:
    value, mark, comment = line.partition(_MARK)
    return f"{value:<{COLUMN}}  # {comment}" if mark else line


def _scalar(value: str | list[str] | None) -> str:
    """A value as YAML on one line."""
    return write({"x": value}, width=10**9).removeprefix("x:").strip()


def _listed(names: Sequence[str]) -> str:
    shown = [for_line(" ".join(name.split())) for name in names[:MAX_NAMES]]
    return ", ".join(shown) + (f" and {len(names) - MAX_NAMES} more" if len(names) > 8 else "")
