"""Warps: images resampled along a displacement field."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from opalg.leaves import Constant, Parameter
from opalg.nodes import node
from opalg.operators.algebra import LinearOperator
from opalg.operators.axes import as_shape
from opalg.operators.interpolation import Resampling, Stencil, check_sampling, coordinates, host_array, parts_of
from opalg.operators.shaped import SameShape
from opalg.operators.spectra import check_broadcast, text
from opalg.program import expression as ex
from opalg.program.expression import Expression, Shape


@node
class Warp(Resampling, SameShape):
    """An image resampled along a displacement field, ``y(i) = x(i + u(i))``, with multilinear interpolation.

    Parameters
    ----------
    shape : tuple of int
        The shape of the image; d axes. The result has it too.
    displacement : array, Constant, Parameter or Expression, broadcasting to ``(d, *shape)``
        The displacement ``u``, real, in index units; component k moves along axis k. Shape ``(d, 1, ..., 1)`` shifts
        the image as a whole. Gradients in it flow where it depends on a Parameter.
    boundary : str
        What lies outside: ``"zero"`` (the interpolant falls to zero within one index unit), ``"edge"``,
        ``"periodic"``, ``"reflect"`` or ``"symmetric"``, as `numpy.pad` names them.

    Raises
    ------
    ShapeError
        Where the displacement does not broadcast to ``(d, *shape)``.
    DtypeError
        Where it is not real.
    UnsupportedError
        For another boundary.

    Notes
    -----
    The adjoint adds ``y(i)`` to the ``2^d`` entries around ``i + u(i)``, with the weights of the interpolation. Rows
    sum to 1 at most, so ``||W||^2 <= max_i sum_j |W_ji|`` (Schur's test, an upper bound); it is exactly 1, and the warp
    orthogonal, where ``i + u(i)`` visits each entry once. At whole displacements, where the interpolant has a kink, the
    derivative in ``u`` is the one from the right: ``dy(i)/du_k(i) = x(j + e_k) - x(j)`` for ``j = i + u(i)``.

    A constant displacement becomes a sparse matrix once. One that may change is looked up at each application.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> W = oa.Warp((4,), np.array([[0.5, 0.0, -1.0, 1.0]]))
    >>> W @ np.array([1.0, 3.0, 7.0, 9.0])
    array([2., 3., 3., 0.])
    >>> oa.Warp((4,), np.array([[1.0]]), "periodic") @ np.array([1.0, 3.0, 7.0, 9.0])
    array([3., 7., 9., 1.])
    """

    shape: Shape
    displacement: Any
    boundary: str = "zero"

    relative = True

    def __post_init__(self) -> None:
        shape = as_shape(self.shape)
        displacement = coordinates(self.displacement, "displacement of Warp")
        check_sampling(shape, self.boundary, "Warp")
        check_broadcast(displacement, (len(shape), *shape), "the displacement of Warp")
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "displacement", displacement)

    @cached_property
    def stencil(self) -> Stencil | None:
        """The weights, where the displacement is constant."""
        if not isinstance(self.displacement, Constant):
            return None
        full = np.broadcast_to(host_array(self.displacement), (len(self.shape), *self.shape))
        return Stencil(full, self.shape, self.boundary, relative=True)

    def _positions(self) -> list[Expression]:
        full = ex.broadcast_to(self.displacement, (len(self.shape), *self.shape))
        return parts_of(full, -1 - len(self.shape))

    def __repr__(self) -> str:
        return f"Warp({self.shape}, {text(self.displacement)}, {self.boundary!r})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        field = rng.uniform(-2.5, 2.5, (2, 3, 4))
        return [
            Warp((3, 4), field),
            Warp((3, 4), field, "edge"),
            Warp((1, 5), rng.uniform(-3.0, 3.0, (2, 1, 5)), "reflect"),
            Warp((3, 4), np.array([1.0, -2.0]).reshape(2, 1, 1), "periodic"),
            Warp((3, 4), Parameter(field, name="field")),
            Warp((2, 3), Parameter(np.array([0.3, -0.6]).reshape(2, 1, 1), name="shift"), "symmetric"),
            Warp((5,), ex.square(Parameter(rng.uniform(0.1, 1.2, (1, 5)), name="root")), "periodic"),
            Warp((2, 1, 3), rng.uniform(-1.5, 1.5, (3, 2, 1, 3)), "symmetric"),
        ]
