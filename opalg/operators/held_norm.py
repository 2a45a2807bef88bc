"""An operator whose spectral norm is held by a factor that power iteration finds and that gradients ignore."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from math import isfinite
from typing import Any

import numpy as np

from opalg.arrays import Backend, backend, library_name, precision_of
from opalg.errors import DtypeError, ParameterError, ShapeError
from opalg.facts import Bound
from opalg.leaves import Held, Leaf, Parameter
from opalg.nodes import node, walk
from opalg.operators.algebra import Adjoint, Around, LinearOperator, scale
from opalg.operators.kinds import adjoint_part, forward_part
from opalg.operators.knowledge import Facts
from opalg.operators.matrix import Matrix
from opalg.operators.matrix_stack import MatrixStack
from opalg.operators.scalars import as_scalar
from opalg.program import expression as ex
from opalg.program.detached import detached
from opalg.program.expression import Expression, Input, Literal, Reduce
from opalg.program.interpreter import evaluate
from opalg.rules import rule

SETTLED = 1e-5  # relative change of the estimate at which the first power iterations end
MOST = 200  # of them


@node
class HeldNorm(Around):
    """``(c / |A v|) A`` with a unit vector ``v`` that power iteration turns to the largest singular vector of A.

    However the data of A grow in training, the norm of the operator stays c, and so does a step that was chosen for it.

    Parameters
    ----------
    operator : LinearOperator
        ``A``, at its true size: the norm is that of the map between images, not of the array of its weights.
    norm : number or positive Parameter
        ``c``.
    start : int, or array of the shape that A takes
        The seed of the random start of power iteration, or the start itself.
    steps : int
        Power iterations at each refresh.

    Attributes
    ----------
    direction : Held
        ``v``, a parameter that is not learned. `opalg.fit` turns it after every step of an optimiser, and plans as
        modules hold it as a buffer.

    Raises
    ------
    ParameterError
        For what is no operator, a norm that is not known to be positive, an operator that is zero, and counts of steps
        that are no positive integers.
    ShapeError, DtypeError
        For a start that is nothing to apply the operator to.

    Notes
    -----
    Each matrix of a `MatrixStack` has its own factor. Power iteration makes ``v <- A^H A v / |A^H A v|`` and estimates
    the norm from below, so the norm of this operator is c or a little more, which its facts call an estimate. The
    factor follows the data of A at once; v waits for a refresh. Derivatives take the factor for a constant, forwards
    and backwards and of any order. The adjoint is the factor times that of A. Riccio, Ehrhardt and Benning (2022) hold
    the norms of the filters and of their free adjoint in this way.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> K = oa.HeldNorm(oa.Matrix(np.array([[3.0, 0.0], [0.0, 1.0]])), 0.5)
    >>> np.round(K @ np.array([1.0, 3.0]), 4)
    array([0.5, 0.5])
    >>> K.facts.norm
    0.5 (estimate)
    """

    operator: LinearOperator
    norm: Any
    start: Any = 0
    steps: int = 3

    def __post_init__(self) -> None:
        if not isinstance(self.operator, LinearOperator):
            raise ParameterError(
                f"HeldNorm holds the norm of an operator, but was given {type(self.operator).__name__}; write "
                f"oa.Matrix(M) for a matrix, oa.MultiConvolve(filters, shape) for filters"
            )
        object.__setattr__(self, "norm", _checked_norm(self.norm))
        if isinstance(self.steps, bool) or not isinstance(self.steps, int) or self.steps < 1:
            raise ParameterError(f"the power iterations at each refresh are a positive integer, not {self.steps!r}")
        if not isinstance(self.start, Expression):
            object.__setattr__(self, "start", self._first_direction(self.start))
        if self.start.shape != self.in_shape:
            raise ShapeError(f"{self.operator!r} takes shape {self.in_shape}, so a start cannot be {self.start.shape}")

    @property
    def direction(self) -> Any:
        """The vector ``v``."""
        return self.start

    @property
    def each(self) -> bool:
        """Whether the first axis counts matrices that each have a factor."""
        inner = self.operator.operator if isinstance(self.operator, Adjoint) else self.operator
        return isinstance(inner, MatrixStack)

    @cached_property
    def factor(self) -> Expression:
        """``c / |A v|``, one number, or a column of one number for each matrix of a stack."""
        v = self.start
        ratio = self._squares(v) / self._squares(forward_part(self.operator, v))
        return self.norm * ex.sqrt(detached(ratio))

    def _squares(self, v: Expression) -> Expression:
        return Reduce("sum", ex.square_abs(v), (-1,), keepdims=True) if self.each else ex.norm_squared(v)

    def trace(self, x: Expression) -> Expression:
        return self.factor * self.operator.trace(x)

    def trace_adjoint(self, y: Expression) -> Expression:
        return self.operator.trace_adjoint(self.factor * y)

    @property
    def facts(self) -> Facts:
        f, square = self.operator.facts, ex.square(self.factor)
        return Facts(
            diagonal=f.diagonal,
            self_adjoint=f.self_adjoint,
            positive=f.positive,
            gram_scale=None if f.gram_scale is None or self.each else square * f.gram_scale,
            cogram_scale=None if f.cogram_scale is None or self.each else square * f.cogram_scale,
            norm=Bound(self.norm, "estimate"),
            lowest=None if f.lowest is None or self.each else self.factor * f.lowest,
        )

    def inverse(self) -> LinearOperator:
        return super().inverse() if self.each else scale(1.0 / self.factor, self.operator.inverse())

    # Power iteration.

    def refreshed(self, params: Mapping[Any, Any] | None = None, steps: int | None = None) -> dict[Held, Any]:
        """The direction after further power iterations, as values to solve with.

        Parameters
        ----------
        params : mapping from Parameter to array, optional
            Values of parameters of A, and of the direction; others have their own.
        steps : int, optional
            How many; by default those of the operator.

        Returns
        -------
        dict from Held to array
            For ``plan.solve(params={A: new, **K.refreshed({A: new})})``.

        Raises
        ------
        ParameterError
            Where A has become zero.
        """
        lib = self._placement([*(params or {}).values()])
        v, _ = self.turned(lib, params or {}, steps)
        return {self.direction: v}

    def turned(self, lib: Backend, params: Mapping[Any, Any], steps: int | None = None) -> tuple[Any, np.ndarray]:
        """The direction after power iterations on a backend, and the norms of A (of each matrix) that they estimate.

        A direction that A takes to zero is drawn anew before A counts as zero; where A is not finite, it stays.
        """
        bound = {p: lib.asarray(v, p.kind) for p, v in params.items()}
        v = bound.pop(self.direction, None)
        v = lib.asarray(self.direction.value, self.direction.kind) if v is None else v
        sizes = np.zeros(0)
        for _ in range(self.steps if steps is None else steps):
            new, sizes = self._advance(v, bound, lib)
            if not np.all(np.isfinite(sizes)):
                return v, sizes  # weights that are not finite stop a solve, which says so
            v = new
        return v, self._measured(v, bound, lib)

    def _advance(self, v: Any, bound: Mapping[Any, Any], lib: Backend) -> tuple[Any, np.ndarray]:
        """One power iteration, and the norms seen on the way."""
        new, sizes = self._power(v, bound, lib)
        if np.any(sizes == 0):
            new, sizes = self._power(self._redrawn(v, sizes == 0, lib), bound, lib)
            self._refuse_zeros(sizes)
        return new, sizes

    def _redrawn(self, v: Any, lost: np.ndarray, lib: Backend) -> Any:
        """The direction with what A takes to zero drawn anew."""
        host, fresh = np.array(lib.to_numpy(v)), _random(self.in_shape, self._kind, 1)
        rows = lost if self.each else slice(None)
        host[rows] = fresh[rows]
        return lib.asarray(host, self._kind)

    def _power(self, v: Any, bound: Mapping[Any, Any], lib: Backend) -> tuple[Any, np.ndarray]:
        back, sizes = evaluate(list(self._iteration), {**bound, self._at: v}, lib)
        return back, np.atleast_1d(lib.to_numpy(sizes).reshape(-1))

    def _measured(self, v: Any, bound: Mapping[Any, Any], lib: Backend) -> np.ndarray:
        (sizes,) = evaluate([self._iteration[1]], {**bound, self._at: v}, lib)
        return np.atleast_1d(lib.to_numpy(sizes).reshape(-1))

    def _refuse_zeros(self, sizes: np.ndarray) -> None:
        if np.any(sizes == 0):
            which = f"matrix {int(np.argmin(sizes))} of " if self.each else ""
            raise ParameterError(
                f"{which}{self.operator!r} is zero, and no factor makes its norm {self.norm!r}; begin with random "
                f"weights, and let no penalty drive them all to zero"
            )

    @cached_property
    def _at(self) -> Input:
        return Input("v", self.in_shape, self._kind)

    @property
    def _kind(self) -> Any:
        return "complex" if self.operator.in_kind == "complex" else "real"

    @cached_property
    def _iteration(self) -> tuple[Expression, Expression]:
        """The next unit vector, and the norm of the image of this one."""
        image = forward_part(self.operator, self._at)
        back = adjoint_part(self.operator, image, self._kind)
        long = ex.sqrt(self._squares(back))
        sizes = ex.sqrt(self._squares(image) / self._squares(self._at))
        return ex.safe_divide(back, long), sizes

    def _placement(self, values: list[Any]) -> Backend:
        """Library, precision and device of the data of A."""
        leaves = [n.value for n in walk(self.operator) if isinstance(n, Leaf) and n.kind != "bool" and n.shape != ()]
        arrays = [a for a in [*values, *leaves] if library_name(a) is not None and precision_of(a) is not None]
        owner = next((a for a in arrays if library_name(a) != "numpy"), None)
        single = bool(arrays) and all(precision_of(a) == "float32" for a in arrays)
        name = "numpy" if owner is None else str(library_name(owner))
        return backend(name, "float32" if single else "float64", getattr(owner, "device", None))

    def _first_direction(self, start: Any) -> Held:
        """The leaf for the direction, turned until the estimate of the norm settles."""
        seeded = isinstance(start, int) and not isinstance(start, bool)
        given = _random(self.in_shape, self._kind, start) if seeded else start
        if library_name(given) is None or tuple(given.shape) != self.in_shape:
            raise ShapeError(
                f"the start of HeldNorm is a seed or an array of shape {self.in_shape}, not {_described(start)}"
            )
        lib = self._placement([])
        if "complex" in str(given.dtype) and self._kind == "real":
            raise DtypeError(f"{self.operator!r} takes real arrays, but the start of HeldNorm is complex")
        v, before = lib.asarray(given, self._kind), np.zeros(1)
        for _ in range(MOST):
            v, sizes = self._advance(v, {}, lib)
            if np.all(np.abs(sizes - before) <= SETTLED * sizes):
                break
            before = sizes
        return Held(v, name=self._label)

    @property
    def _label(self) -> str | None:
        named = [n.name for n in walk(self.operator) if isinstance(n, Parameter) and n.name]
        return f"{'_'.join(named)}_direction" if named else None

    def again(self, operator: LinearOperator) -> HeldNorm:
        """The same norm of another operator, with a direction of its own, sought from where this one is."""
        return HeldNorm(operator, self.norm, self.direction.value, self.steps)

    def __repr__(self) -> str:
        return f"HeldNorm({self.operator!r}, {self.norm!r})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        return [
            HeldNorm(Matrix(rng.standard_normal((3, 4))), 2.0),
            HeldNorm(Matrix(rng.standard_normal((3, 3)) + 1j * rng.standard_normal((3, 3))), 0.5),
            HeldNorm(MatrixStack(rng.standard_normal((2, 3, 4))), 1.5),
        ]


@rule(HeldNorm, group="simplify")
def factor_of_held_norm(held: HeldNorm) -> LinearOperator | None:
    """HeldNorm(A, c)  ->  (c / |A v|) A     (A no stack of matrices, which has more than one factor)"""
    return None if held.each else scale(held.factor, held.operator)


def _checked_norm(norm: Any) -> Expression:
    found = as_scalar(norm)
    if found is None:
        raise ParameterError(f"the norm that HeldNorm holds is a positive number, not {_described(norm)}")
    if isinstance(found, Literal):
        if found.kind != "real" or not (isfinite(found.value.real) and found.value.real > 0):
            raise ParameterError(f"the norm that HeldNorm holds is a positive number, not {norm!r}")
    elif not (isinstance(found, Parameter) and found.positive):
        raise ParameterError(
            f"the norm that HeldNorm holds must be known to be positive, which {norm!r} is not; write "
            f"oa.Parameter(1.0, positive=True)"
        )
    return found


def _random(shape: tuple[int, ...], kind: str, seed: int) -> np.ndarray:
    if seed < 0:
        raise ParameterError(f"the seed of HeldNorm is a nonnegative integer, not {seed}")
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    return x + 1j * rng.standard_normal(shape) if kind == "complex" else x


def _described(value: Any) -> str:
    return f"an array of shape {tuple(value.shape)}" if hasattr(value, "shape") else repr(value)


__all__ = ["HeldNorm"]
