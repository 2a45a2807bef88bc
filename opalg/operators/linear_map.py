"""What a linear operator does: to arrays, whose kinds it knows, and to expressions of the step language."""

from __future__ import annotations

from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from opalg.arrays import backend
from opalg.errors import UnsupportedError
from opalg.facts import Bound
from opalg.operators.applying import prepare, sort_of
from opalg.operators.flat import flat_operator, pylops_operator
from opalg.operators.knowledge import Facts
from opalg.operators.norm_estimate import NormEstimate, norm_estimate
from opalg.operators.tree import tree_text
from opalg.program import expression as ex
from opalg.program.differentiate import vjp
from opalg.program.expression import Expression, Input, Literal
from opalg.program.linear import Linear


class LinearMap(Linear):
    """A linear map that can be applied to arrays; `opalg.LinearOperator` adds what is built of such maps."""

    __array_ufunc__ = None
    in_kind: str = "any"

    def __init_subclass__(cls, **options: Any) -> None:
        """What an operator knows and its adjoint are found once, since an operator does not change."""
        super().__init_subclass__(**options)
        for name in ("facts", "H", "in_kind", "in_shape", "out_shape"):
            found = vars(cls).get(name)
            if isinstance(found, property) and found.fget is not None:
                kept = cached_property(found.fget)
                kept.__set_name__(cls, name)
                setattr(cls, name, kept)

    def out_kind(self, kind: str) -> str:
        return kind if self.in_kind == "any" else self.in_kind

    def adjoint_kind(self, kind: str) -> str:
        return kind if self.in_kind == "any" else self.in_kind

    def trace(self, x: Expression) -> Expression:
        """The operator applied to an expression of the step language."""
        return ex.Apply(self, x)

    def trace_adjoint(self, y: Expression) -> Expression:
        """The adjoint applied to an expression; by default the transposed trace."""
        if type(self).trace is LinearMap.trace:
            return ex.Apply(self, y, adjoint=True)
        batch = ex.batch_shape(y.shape, self.out_shape, self)
        x = Input("adjoint argument", batch + self.in_shape, self.adjoint_kind(y.kind))
        (back,) = vjp([self.trace(x)], [y], [x])
        return ex.broadcast_to(Literal(0.0), x.shape) if back is None else back

    @cached_property
    def facts(self) -> Facts:
        """What is known about this operator."""
        return Facts()

    @property
    def in_dtype(self) -> str | None:
        """``"real"`` or ``"complex"`` where the operator insists on one, else None."""
        return None if self.in_kind == "any" else self.in_kind

    @cached_property
    def out_dtype(self) -> str | None:
        """``"real"`` or ``"complex"`` where the result has one always, else None."""
        kinds = {self.out_kind(k) for k in (("real", "complex") if self.in_kind == "any" else (self.in_kind,))}
        return kinds.pop() if len(kinds) == 1 else None

    def norm_bound(self) -> Bound:
        """A bound on the spectral norm with its certainty.

        Raises
        ------
        UnsupportedError
            Where none is known.
        """
        bound = self.facts.norm
        if bound is None:
            raise UnsupportedError(f"no bound on the norm of {self!r} is known")
        return bound

    def norm_estimate(
        self,
        tolerance: float = 1e-2,
        probability: float = 0.99,
        *,
        steps: int = 100,
        library: str = "numpy",
        device: Any = None,
        rng: np.random.Generator | None = None,
    ) -> NormEstimate:
        """The spectral norm by Lanczos' method, from below, and what it probably is at most.

        Parameters
        ----------
        tolerance : float
            Relative; the estimate stops where the two numbers are that close.
        probability : float
            How likely the number from above shall be to hold.
        steps : int
            The most applications of the operator and its adjoint; a vector is kept for each.
        library, device
            Where to apply the operator, in float64.
        rng : numpy.random.Generator, optional
            Where the random start comes from; the same one each time by default.

        Returns
        -------
        NormEstimate
            A `Bound` of certainty ``"estimate"``, with ``above``, ``probability`` and ``steps``.

        Examples
        --------
        >>> import opalg as oa
        >>> found = oa.Gradient((64, 64)).norm_estimate()
        >>> bool(found.value <= 8**0.5 <= found.above * 1.01)
        True
        """
        generator = np.random.default_rng(0) if rng is None else rng
        return norm_estimate(self, backend(library, "float64", device), tolerance, probability, steps, generator)

    def tree(self) -> str:
        """The operator as a tree of its parts, with shapes and facts, to be printed."""
        return tree_text(self)

    def to_scipy(self, dtype: Any = None) -> Any:
        """The operator as a ``scipy.sparse.linalg.LinearOperator``; see `opalg.interop.to_scipy`."""
        return flat_operator(self, dtype)

    def to_pylops(self, dtype: Any = None) -> Any:
        """The operator as a ``pylops.LinearOperator``; see `opalg.interop.to_pylops`."""
        return pylops_operator(self, dtype)

    def apply(self, x: Any) -> Any:
        """The operator applied to an array whose trailing axes are ``in_shape``.

        Parameters
        ----------
        x : array, shape ``batch + in_shape``
            Of NumPy, CuPy or Torch. Autograd records the call where a tensor requires a gradient.

        Returns
        -------
        array, shape ``batch + out_shape``
            Of the same library, device and precision; it shares no memory with x.

        Raises
        ------
        ShapeError, DtypeError
            Where the array does not fit.
        """
        try:
            prepared = self.__dict__["_prepared"][sort_of(x)]
        except (KeyError, AttributeError):
            prepared = prepare(self, x)
        return prepared(x)

    @property
    def H(self) -> LinearMap:
        """The adjoint."""
        raise NotImplementedError(f"{type(self).__name__} has no adjoint")

    def adjoint(self, y: Any) -> Any:
        """The adjoint applied to an array whose trailing axes are ``out_shape``."""
        return self.H.apply(y)

    def to_dense(self) -> np.ndarray:
        """The operator as a NumPy matrix of shape ``(prod(out_shape), prod(in_shape))``, in float64.

        Column ``j`` is the operator applied to the ``j``-th unit array. Where only one side is complex, the columns
        are those of the real-linear map restricted to real arguments.
        """
        size = prod(self.in_shape)
        unit = np.eye(size, dtype=complex if self.in_kind == "complex" else float)
        return self.apply(unit.reshape((size, *self.in_shape))).reshape(size, prod(self.out_shape)).T
