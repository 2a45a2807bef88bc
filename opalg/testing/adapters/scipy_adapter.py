"""SciPy's linear operators, sparse matrices, and plain arrays as matrices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np

from opalg.errors import ParameterError, UnsupportedError
from opalg.testing.adapters.adapted import MEMORY, PRECISION, Adapted, kind_of_dtype, label_of

_UNPROMISED = MappingProxyType({"dtype": f"SciPy {PRECISION}", "fresh": f"SciPy {MEMORY}"})


def adapt(operator: Any, in_shape: Any = None, out_shape: Any = None) -> Adapted:
    """A ``scipy.sparse.linalg.LinearOperator``, a sparse matrix or an array of two axes on flat vectors."""
    if len(getattr(operator, "shape", ())) != 2:
        raise ParameterError(f"a matrix has two axes, but this {type(operator).__name__} has not")
    rows, columns = (int(n) for n in operator.shape)
    return Adapted(
        label=f"{label_of(operator, 'scipy')} of shape {(rows, columns)}",
        in_shape=(columns,),
        out_shape=(rows,),
        apply=operator.matvec if hasattr(operator, "matvec") else lambda x: operator @ x,
        adjoint_of=lambda: replace(adapt(_adjoint(operator)), apply=_pull(operator)),
        in_kind=kind_of_dtype(operator.dtype),
        unpromised=_UNPROMISED,
    )


def _pull(operator: Any) -> Callable[[Any], Any]:
    """The adjoint's products; SciPy's ways to say that there is none are put into words."""
    adjoint = _adjoint(operator)
    if not hasattr(operator, "matvec"):
        return lambda y: adjoint @ y

    def pull(y: Any) -> Any:
        try:
            return adjoint.matvec(y)
        except (NotImplementedError, TypeError) as problem:
            raise UnsupportedError(f"SciPy finds no adjoint ({problem}); give its LinearOperator rmatvec=") from problem

    return pull


def _adjoint(operator: Any) -> Any:
    return operator.H if hasattr(operator, "matvec") else np.conj(operator).T if _dense(operator) else operator.conj().T


def _dense(operator: Any) -> bool:
    return isinstance(operator, np.ndarray)
