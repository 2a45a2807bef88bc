"""Cheap stand-ins for the adjoint ``u = (I - J^T)^{-1} c`` of a fixed point, and unrolled gradients.

All of them are heuristics: they are short of the implicit gradient by an amount that is not small as a rule, and where
there are fewer parameters than unknowns even the sign of a derivative may come out wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any

import numpy as np

from opalg.arrays import Backend, backend_of
from opalg.errors import NonFiniteError, NotAContractionError, ParameterError
from opalg.iterations.iteration import FlatMap
from opalg.iterations.vectors import norm, own_vector

MODES = ("jacobian_free", "neumann", "phantom")
TERMS = {"jacobian_free": 0, "neumann": 20, "phantom": 5}
DAMPING = 0.5
_RECENT = 3  # increments whose mean ratio extrapolates the tail


@dataclass(frozen=True)
class Approximate:
    """An approximate adjoint state, and what its own terms say about its error.

    Attributes
    ----------
    u : flat real array
        The approximate solution of ``(I - J^T) u = c``.
    products : int
        Products with ``J^T``.
    estimate : float or None
        An extrapolation of ``|u - u*|`` from the last terms as a geometric series; infinity where they grow, None
        where there are too few to tell.
    bound : float or None
        A bound on ``|u - u*|``, where a contraction factor of ``J`` was given.
    ratio : float or None
        By what factor the last terms shrank, each over the one before.
    """

    u: Any
    products: int
    estimate: float | None = None
    bound: float | None = None
    ratio: float | None = None


def approximate_adjoint(
    mode: str,
    transposed: FlatMap,
    c: Any,
    lib: Backend,
    terms: int | None = None,
    damping: float | None = None,
    *,
    contraction: float | None = None,
    start: str = "zero",
) -> Approximate:
    """An approximate solution of ``(I - J^T) u = c``.

    Parameters
    ----------
    mode : {"jacobian_free", "neumann", "phantom"}
        ``u = c``; ``sum_{j <= K} (J^T)^j c``; or K damped steps ``u <- (1 - d) u + d (J^T u + c)``.
    transposed : callable
        ``u -> J^T u`` on flat real arrays.
    c : flat real array
        The cotangent.
    lib : Backend
        Library, device and precision.
    terms : int, optional
        The K: 20 for ``"neumann"``, 5 for ``"phantom"`` by default.
    damping : float, optional
        The d in (0, 1] of ``"phantom"``; 0.5 by default.
    contraction : float, optional
        A number below 1 with ``|J| <= contraction``, for a bound on the error.
    start : {"zero", "cotangent"}
        Where the steps of ``"phantom"`` begin; from zero the first one takes no product.

    Returns
    -------
    Approximate
        Exactly zero for a zero cotangent, without products.

    Raises
    ------
    ParameterError
        For an unknown mode, and for numbers out of range.
    NonFiniteError
        Where the cotangent, or a product with ``J^T`` of a finite vector, holds NaN or infinity.
    NotAContractionError
        Where the terms grow until they overflow.

    Notes
    -----
    With increments ``D_j`` that obey ``D_{j+1} = B D_j``, ``B = (1 - d) I + d J^T`` (d = 1 for Neumann's series), what
    is left out is ``sum_{i >= 1} B^i D_K``. So ``|u - u*| <= |D_K| q / (1 - q)`` with ``q = 1 - d + d rho``, which
    for Neumann's series is never above ``rho^{K+1} / (1 - rho) |c|``. From zero, phantom steps are
    ``d sum_{j < K} B^j c``, the form by Neumann's series of Geng et al. (2021).

    References
    ----------
    Fung et al. (2022) for the Jacobian-free form; Geng, Zhang, Bai, Wang and Lin (2021), "On training implicit models",
    for the phantom gradient.

    Examples
    --------
    >>> import numpy as np
    >>> from opalg.arrays import backend
    >>> from opalg.implicit.modes import approximate_adjoint
    >>> found = approximate_adjoint("neumann", lambda u: 0.5 * u, np.ones(2), backend("numpy"), 3, contraction=0.5)
    >>> found.u, found.products, round(float(found.bound), 6)
    (array([1.875, 1.875]), 3, 0.176777)
    """
    terms, damping = _checked(mode, terms, damping, contraction, start)
    given = own_vector(c, lib, "the cotangent")
    size = norm(given, lib)
    if not isfinite(size):
        raise NonFiniteError("the cotangent holds NaN or infinity; look at the gradient of the outer loss")
    if size == 0.0:
        return Approximate(given, 0, 0.0, 0.0, None)
    products = 0

    def product(vector: Any) -> Any:
        nonlocal products
        products += 1
        with np.errstate(over="ignore", invalid="ignore"):  # a series that grows is answered below
            return lib.copy(transposed(vector))

    factor = damping if mode == "phantom" else 1.0
    if mode != "phantom":
        u, increment, count = given, lib.copy(given), terms
    elif start == "zero":
        u = lib.multiply(given, factor)
        increment, count = lib.copy(u), terms - 1
    else:
        increment = lib.multiply(product(given), factor)
        u, count = lib.add(given, increment), terms - 1
    sizes = [norm(increment, lib)]
    for _ in range(count):
        if sizes[-1] == 0.0:
            break
        moved = product(increment)
        if factor != 1.0:
            moved = lib.add(lib.multiply(increment, 1.0 - factor), lib.multiply(moved, factor))
        sizes.append(norm(moved, lib))
        if not isfinite(sizes[-1]):
            raise _overflow(sizes[:-1])
        u, increment = lib.add(u, moved), moved
    if not isfinite(norm(u, lib)):
        raise _overflow(sizes)
    ratio = _ratio(sizes)
    return Approximate(u, products, _tail(sizes[-1], ratio), _bound(sizes[-1], contraction, factor), ratio)


@dataclass(frozen=True)
class Unrolled:
    """The gradient through a fixed number of applications of a map.

    Attributes
    ----------
    gradients : tuple
        For each parameter, None where no application depends on it.
    state : array or tuple of arrays
        The state after the last application.
    start_cotangent : array or tuple of arrays
        What is left of the cotangent at the start: its size over that of the cotangent tells how much of the gradient
        of the fixed point the truncation leaves out.
    products : int
        Applications of ``pull``.
    """

    gradients: tuple[Any, ...]
    state: Any
    start_cotangent: Any
    products: int


def unrolled_gradient(
    step: Callable[[Any], Any],
    pull: Callable[[Any, Any], tuple[Any, Sequence[Any]]],
    start: Any,
    c: Any | Callable[[Any], Any],
    steps: int,
) -> Unrolled:
    """The gradient of ``Re <c, T^K(z0)>`` in parameters, by going back through K applications of the map.

    Parameters
    ----------
    step : callable
        ``state -> T(state)``; a fresh array (or tuple of arrays) each time, since states are kept.
    pull : callable
        ``(state, u) -> (J(state)^T u, [gradient in each parameter])``, None for a gradient that is zero.
    start : array or tuple of arrays
        The ``z0``, held fixed.
    c : array or tuple of arrays, or callable
        The cotangent of the last state, or a function of that state.
    steps : int
        The K; K states are kept, so memory grows with it.

    Returns
    -------
    Unrolled

    Raises
    ------
    ParameterError
        Where ``steps`` is no positive integer.
    NonFiniteError
        Where a state or a cotangent is not finite.

    Notes
    -----
    For a contraction with factor rho it differs from the implicit gradient by ``O(K rho^K)`` where the start moves
    to the fixed point, and by ``O(rho^K)`` where it is the fixed point already (Franceschi et al. 2017; Shaban et al.
    2019, Proposition 3.1 for the truncation). Exact zeros pass: a zero cotangent gives zero gradients.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ParameterError(f"the number of unrolled steps must be a positive integer, not {steps!r}")
    state, kept = start, []
    for _ in range(steps):
        kept.append(state)
        state = step(state)
    _must_be_finite(state, "the state after the unrolled steps")
    u = c(state) if callable(c) else c
    _must_be_finite(u, "the cotangent")
    gradients: list[Any] = []
    while kept:
        u, found = pull(kept.pop(), u)
        gradients = list(found) if not gradients else [_sum(a, b) for a, b in zip(gradients, found, strict=True)]
    _must_be_finite(u, "the cotangent that came back to the start")
    return Unrolled(tuple(gradients), state, u, steps)


def _checked(
    mode: str, terms: int | None, damping: float | None, contraction: float | None, start: str
) -> tuple[int, float]:
    if mode not in MODES:
        raise ParameterError(f"the mode of an approximate adjoint must be one of {MODES}, not {mode!r}")
    terms = TERMS[mode] if terms is None or mode == "jacobian_free" else terms
    lowest = 1 if mode == "phantom" else 0
    if isinstance(terms, bool) or not isinstance(terms, int) or terms < lowest:
        raise ParameterError(f"the number of terms of mode={mode!r} must be an integer from {lowest} on, not {terms!r}")
    damping = DAMPING if damping is None else damping
    if not 0 < damping <= 1:
        raise ParameterError(f"the damping of phantom steps must lie in (0, 1], not {damping!r}")
    if contraction is not None and not 0 <= contraction < 1:
        raise ParameterError(f"a contraction factor must lie in [0, 1), not {contraction!r}")
    if start not in ("zero", "cotangent"):
        raise ParameterError(f"phantom steps start at 'zero' or at the 'cotangent', not at {start!r}")
    return terms, float(damping)


def _ratio(sizes: Sequence[float]) -> float | None:
    """The mean factor between the sizes of the last increments."""
    count = min(_RECENT, len(sizes) - 1)
    if count == 0:
        return None
    return 0.0 if sizes[-1] == 0.0 else float((sizes[-1] / sizes[-1 - count]) ** (1.0 / count))


def _tail(last: float, ratio: float | None) -> float | None:
    if ratio is None:
        return None
    return last * ratio / (1.0 - ratio) if ratio < 1.0 else inf


def _bound(last: float, contraction: float | None, factor: float) -> float | None:
    if contraction is None:
        return None
    rate = 1.0 - factor + factor * contraction
    return last * rate / (1.0 - rate)


def _overflow(sizes: Sequence[float]) -> Exception:
    """The error for a term that is not finite: of a series that grows, or of a product that makes NaN."""
    ratio = _ratio(sizes)
    if ratio is None or ratio <= 1.0:
        return NonFiniteError("a product with the transposed Jacobian is not finite; look for NaN in the map's vjp")
    error = NotAContractionError(
        f"the terms of the approximate adjoint grow by a factor of {ratio:.3g} each until they overflow: the map is no "
        f"contraction at this point and its Neumann series has no sum; use mode='exact'"
    )
    error.contraction = ratio
    return error


def _sum(a: Any, b: Any) -> Any:
    return b if a is None else a if b is None else a + b


def _must_be_finite(value: Any, what: str) -> None:
    for array in value if isinstance(value, (tuple, list)) else (value,):
        xp = backend_of(array).xp
        if not bool(xp.all(xp.isfinite(array))):
            raise NonFiniteError(
                f"{what} holds NaN or infinity; unroll fewer steps, or look for a step that is too long"
            )
