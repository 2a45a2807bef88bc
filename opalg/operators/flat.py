"""Operators on flat NumPy vectors, as the solvers of SciPy and PyLops take them."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from opalg.errors import DtypeError, UnsupportedError

if TYPE_CHECKING:
    from opalg.operators.linear_map import LinearMap


def flat_operator(operator: LinearMap, dtype: Any) -> Any:
    """A ``scipy.sparse.linalg.LinearOperator``; what it is like is said at `opalg.interop.to_scipy`."""
    from scipy.sparse.linalg import LinearOperator as ScipyOperator

    source = _kind_wanted(operator, dtype)
    target = operator.out_kind(source)
    mixed = source != target or (source == "complex" and not _complex_linear(operator))
    forward = _flat(operator, operator.in_shape, operator.out_shape, source, mixed)
    backward = _flat(operator.H, operator.out_shape, operator.in_shape, target, mixed)
    rows, columns = (
        prod(shape) * (2 if mixed and kind == "complex" else 1)
        for shape, kind in ((operator.out_shape, target), (operator.in_shape, source))
    )
    return ScipyOperator(
        (rows, columns),
        matvec=lambda x: forward(np.reshape(x, (1, -1)))[0],
        rmatvec=lambda y: backward(np.reshape(y, (1, -1)))[0],
        matmat=lambda x: forward(np.asarray(x).T).T,
        rmatmat=lambda y: backward(np.asarray(y).T).T,
        dtype=np.dtype(complex if source == "complex" and not mixed else float),
    )


def _kind_wanted(operator: LinearMap, dtype: Any) -> str:
    wanted = None if dtype is None else {"c": "complex", "f": "real"}.get(np.dtype(dtype).kind)
    if dtype is not None and wanted is None:
        raise DtypeError(f"vectors are of dtype float or complex, not {dtype!r}")
    if operator.in_kind == "any":
        return wanted or "real"
    if wanted not in (None, operator.in_kind):
        raise DtypeError(f"{operator!r} takes {operator.in_kind} arrays only; leave dtype out")
    return operator.in_kind


def _complex_linear(operator: LinearMap) -> bool:
    """Whether an operator on complex arrays takes ``i x`` to ``i A x``, tried on a random array."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(operator.in_shape) + 1j * rng.standard_normal(operator.in_shape)
    image, turned = operator.apply(x), operator.apply(1j * x)
    scale = float(np.max(np.abs(image), initial=0.0))
    return float(np.max(np.abs(turned - 1j * image), initial=0.0)) <= 1e-8 * scale


def _flat(operator: Any, source: Any, target: Any, kind: str, mixed: bool) -> Callable[[np.ndarray], np.ndarray]:
    """An operator on rows of flat vectors; with ``mixed``, complex ones are pairs of reals."""

    def apply(rows: np.ndarray) -> np.ndarray:
        if mixed and kind == "complex":
            rows = np.ascontiguousarray(rows, dtype=float).view(complex)
        else:
            rows = np.asarray(rows, dtype=complex if kind == "complex" or np.iscomplexobj(rows) else float)
        found = operator.apply(rows.reshape((len(rows), *source))).reshape(len(rows), prod(target))
        return found.view(float) if mixed and np.iscomplexobj(found) else found

    return apply


def pylops_operator(operator: LinearMap, dtype: Any) -> Any:
    """A ``pylops.LinearOperator``; what it is like is said at `opalg.interop.to_pylops`."""
    try:
        import pylops
    except ImportError:
        raise UnsupportedError("PyLops is not installed: pip install pylops") from None
    flat = flat_operator(operator, dtype)
    same = flat.shape == (prod(operator.out_shape), prod(operator.in_shape))
    dims, dimsd = (operator.in_shape, operator.out_shape) if same else ((flat.shape[1],), (flat.shape[0],))
    return pylops.LinearOperator(Op=flat, dtype=flat.dtype, dims=dims or (1,), dimsd=dimsd or (1,), clinear=True)
