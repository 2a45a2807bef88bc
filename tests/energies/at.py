"""Affine expressions at points, for comparison with NumPy written by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from opalg.arrays import backend
from opalg.energies.energy import point_of
from opalg.program.interpreter import evaluate


def at(expression: Any, point: Mapping[Any, np.ndarray]) -> np.ndarray:
    """The value of an affine expression where its variables have the given values."""
    affine = expression.as_affine()
    inputs = point_of(affine.variables)
    (value,) = evaluate([affine.trace(inputs)], {inputs[v]: point[v] for v in affine.variables}, backend("numpy"))
    assert value.shape == affine.shape
    assert np.iscomplexobj(value) == (affine.kind == "complex")
    return value
