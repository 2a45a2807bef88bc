"""PyLops operators, on arrays of the shapes ``dims`` and ``dimsd``."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import numpy as np

from opalg.operators.algebra import as_shape
from opalg.testing.adapters.adapted import MEMORY, PRECISION, Adapted, kind_of_dtype, label_of

_UNPROMISED = MappingProxyType({"dtype": f"PyLops {PRECISION}", "fresh": f"PyLops {MEMORY}"})


def adapt(operator: Any, in_shape: Any = None, out_shape: Any = None) -> Adapted:
    """A ``pylops.LinearOperator``.

    One that is linear over the reals only (``clinear`` is False) from real to complex arrays, such as the real FFT, is
    tried on real arrays.
    """
    source = as_shape(getattr(operator, "dims", None) or operator.shape[1])
    target = as_shape(getattr(operator, "dimsd", None) or operator.shape[0])
    kind = _kind(operator)

    def apply(x: Any) -> Any:
        return np.reshape(operator.matvec(np.ravel(x)), target)

    def pull(y: Any) -> Any:
        back = np.reshape(operator.rmatvec(np.ravel(y)), source)
        return back.real if kind == "real" and np.iscomplexobj(back) else back

    label = f"{label_of(operator, 'pylops')} {source} -> {target}"
    forward = Adapted(label, source, target, apply, lambda: backward, kind, unpromised=_UNPROMISED)
    backward = Adapted(f"({label}).H", target, source, pull, lambda: forward, unpromised=_UNPROMISED)
    return forward


def _kind(operator: Any) -> str | None:
    real_argument = kind_of_dtype(getattr(operator, "rdtype", None)) == "real"
    if not getattr(operator, "clinear", True) and real_argument:
        return "real"
    return kind_of_dtype(operator.dtype)
