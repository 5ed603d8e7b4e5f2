"""The demonstration's configuration: the text that users read, change and run themselves."""

from __future__ import annotations

TEXT = """\
# The demonstration. `isnet demo` draws chest images of two invented hospitals and runs this file
# twice: as it stands, and without the heat-map loss. By hand, after `isnet demo`:
#
#   isnet run demo.yaml -o my_isnet
#   isnet run demo.yaml -o my_standard --set upstream=my_isnet --set train.method=standard
#   isnet report my_isnet my_standard
#
# Paths start at this file. Keys left out have their defaults.
version: 1
name: demo
seed: {seed}

data:
  images: {images}
  labels: {{file: {labels}, columns: [label], classes: [disease, normal]}}
  sets:                         # hospital A is dealt out by patient; B is kept for testing
    train: {{source: A, fraction: 0.6}}
    val: {{source: A, fraction: 0.15}}
    test: {{source: A, fraction: 0.25}}
    hospital_b: {{source: B}}

# The trap: every training image of a sick patient carries a triangle, every normal one a circle,
# outside the lungs. The test images are tried with these marks (biased), without any (standard) and
# with the marks exchanged (deceiving).
bias:
  kind: shapes
  shapes: [triangle, circle]    # in the order of data.labels.classes
  size: 0.15

model: {{arch: small, input: 96}}

train:
  method: isnet
  epochs: 60
  batch_size: 32
  optimizer: {{name: adamw, lr: 0.003, weight_decay: 0.01}}
  settings:
    isnet:
      heatmap_weight: 0.6
      relevance_range: [1, 25]  # few images: three plain epochs are too short to estimate them
  augment: {{rotate: 0, translate: 0, scale: 0, flip: true, contrast: 0.3, brightness: 0.15}}

heatmap:
  sets: [test, hospital_b]
  limit: 6
"""


def demo_yaml(images: str, labels: str, seed: int = 0) -> str:
    """The configuration file for images and labels at the given paths."""
    return TEXT.format(images=images, labels=labels, seed=seed)
