"""Small sheets, patients and poses for tests of the phantoms."""

from __future__ import annotations

import numpy as np

from isnet_cli.phantoms.anatomy import Patient, Pose
from isnet_cli.phantoms.canvas import Grid

UPRIGHT = Pose(breath=0.0, arms=0.5, shoulders=0.0, turn=0.0)


def sheet(side: int = 200, scale: float = 5.0, tilt: float = 0.0, turn: float = 0.0) -> Grid:
    """A square sheet of 40 cm with the apices at a sixth of its height."""
    return Grid(side, side, scale, (side / 6, side / 2), tilt, turn)


def person(seed: int = 0) -> Patient:
    """A random adult."""
    return Patient.draw(np.random.default_rng(seed))
