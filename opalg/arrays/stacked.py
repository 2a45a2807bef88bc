"""Products with a stack of matrices: each matrix of the stack has its own vectors."""

from __future__ import annotations

from typing import Any

from opalg.arrays.backend import Backend


def stacked_product(lib: Backend, form: str, left: Any, right: Any, out: Any = None) -> Any:
    """``M_c x_c`` for each c, as ``"Mx"``, ``"MTx"`` or ``"xyT"``; vectors come as arrays of shape ``(..., c, n)``.

    Parameters
    ----------
    lib : Backend
    form : str
        As for `opalg.program.expression.Product`.
    left, right : array
        Matrices of shape ``(c, m, n)`` and vectors; or, for ``"xyT"``, vectors and vectors.
    out : array, optional
        Where the result goes.
    """
    xp = lib.xp
    if form == "xyT":
        rows, columns = _by_matrix(xp, left), _by_matrix(xp, right)
        return lib.matmul(xp.permute_dims(rows, (0, 2, 1)), columns, out=out)
    matrices = xp.permute_dims(left, (0, 2, 1)) if form == "Mx" else left
    found = xp.permute_dims(lib.matmul(_by_matrix(xp, right), matrices), (1, 0, 2))
    shape = (*right.shape[:-1], found.shape[-1])
    if out is None:
        return xp.reshape(lib.copy(found), shape)
    return lib.copy(xp.reshape(found, shape), out=out)


def _by_matrix(xp: Any, x: Any) -> Any:
    """Vectors of shape ``(..., c, n)`` as ``(c, batch, n)``."""
    return xp.permute_dims(xp.reshape(x, (-1, x.shape[-2], x.shape[-1])), (1, 0, 2))


__all__ = ["stacked_product"]
