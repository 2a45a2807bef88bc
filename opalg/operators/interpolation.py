"""Multilinear interpolation of images at given points."""

from __future__ import annotations

from functools import cached_property
from math import prod, sqrt
from typing import Any, ClassVar

import numpy as np

from opalg.arrays import backend
from opalg.errors import DtypeError, ShapeError, UnsupportedError
from opalg.facts import exact, upper
from opalg.leaves import Constant, Indices, Parameter
from opalg.nodes import node
from opalg.operators.algebra import LinearOperator
from opalg.operators.axes import as_shape
from opalg.operators.knowledge import Facts
from opalg.operators.shaped import OnShape
from opalg.operators.spectra import as_data, text
from opalg.operators.stored import StoredMatrix, multiply_stored
from opalg.program import expression as ex
from opalg.program.expression import Apply, Expression, Literal, Shape
from opalg.program.linear import Kernel
from opalg.program.sampling import BOUNDARIES, Component, corners, sample, splat


class Resampling(OnShape):
    """An image read between its entries: by a stencil where it is known, else by positions that gradients reach."""

    boundary: str
    relative: ClassVar[bool]

    @property
    def stencil(self) -> Stencil | None:
        """The weights, where the positions are constant."""
        raise NotImplementedError

    def _positions(self) -> list[Expression]:
        """The coordinates along each axis of the image."""
        raise NotImplementedError

    def kernel(self) -> Kernel:
        assert self.stencil is not None
        return self.stencil.kernel()

    def adjoint_kernel(self) -> Kernel:
        assert self.stencil is not None
        return self.stencil.adjoint_kernel()

    def trace(self, x: Expression) -> Expression:
        if self.stencil is not None:
            return Apply(self, x)
        ex.batch_shape(x.shape, self.in_shape, self)
        return sample(x, self._positions(), self.shape, self.boundary, self.relative)

    def trace_adjoint(self, y: Expression) -> Expression:
        if self.stencil is not None:
            return Apply(self, y, adjoint=True)
        ex.batch_shape(y.shape, self.out_shape, self)
        return splat(y, self._positions(), self.shape, self.boundary, self.relative)

    @property
    def facts(self) -> Facts:
        if self.stencil is not None:
            return self.stencil.facts
        # Schur's test as a formula of the positions: rows sum to 1 at most, columns to what ones are splat to.
        positions = self._positions()
        ones = ex.broadcast_to(Literal(1.0), positions[0].shape)
        columns = splat(ones, positions, self.shape, self.boundary, self.relative)
        return Facts(norm=upper(ex.sqrt(ex.largest(columns))))


@node
class Interpolate(Resampling):
    """Multilinear interpolation at points, ``y_j = sum_i x_i prod_k max(0, 1 - |p_jk - i_k|)``.

    Parameters
    ----------
    shape : tuple of int
        The shape of the image; d axes.
    points : array, Constant, Parameter or Expression, shape ``(..., d)``
        The points ``p_j``, real, in index units: the centre of entry ``(i, k)`` is the point ``(i, k)``. Gradients in
        them flow where they depend on a Parameter.
    boundary : str
        What lies outside: ``"zero"`` (the interpolant falls to zero within one index unit), ``"edge"``,
        ``"periodic"``, ``"reflect"`` or ``"symmetric"``, as `numpy.pad` names them.

    Raises
    ------
    ShapeError
        Where the points have not the shape ``(..., d)`` with one axis or more in front, or there are none.
    DtypeError
        Where the points are not real.
    UnsupportedError
        For another boundary.

    Notes
    -----
    The adjoint adds each value to the ``2^d`` entries around its point, with the same weights. Rows sum to 1 at most,
    so ``||A||^2 <= max_i sum_j |A_ji|`` (Schur's test, an upper bound); it is exactly 1 where the points are different
    entries of the image. At whole coordinates, where the interpolant has a kink, the derivative in a point is the one
    from the right.

    Constant points become a sparse matrix once. Points that may change are looked up at each application.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> A = oa.Interpolate((2, 3), np.array([[0.0, 0.5], [0.5, 2.0]]))
    >>> A @ np.array([[0.0, 2.0, 4.0], [6.0, 8.0, 10.0]])
    array([1., 7.])
    >>> A.H @ np.array([2.0, 4.0])
    array([[1., 1., 2.],
           [0., 0., 2.]])
    """

    shape: Shape
    points: Any
    boundary: str = "zero"

    relative = False

    def __post_init__(self) -> None:
        shape = as_shape(self.shape)
        points = coordinates(self.points, "points of Interpolate")
        check_sampling(shape, self.boundary, "Interpolate")
        if points.ndim < 2 or points.shape[-1] != len(shape) or 0 in points.shape:
            raise ShapeError(
                f"Interpolate on shape {shape} takes points of shape (..., {len(shape)}), one row for each point, "
                f"but was given shape {points.shape}"
            )
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "points", points)

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return self.points.shape[:-1]

    @cached_property
    def stencil(self) -> Stencil | None:
        """The weights, where the points are constant."""
        if not isinstance(self.points, Constant):
            return None
        return Stencil(np.moveaxis(host_array(self.points), -1, 0), self.shape, self.boundary, relative=False)

    def _positions(self) -> list[Expression]:
        return parts_of(self.points, -1)

    def __repr__(self) -> str:
        return f"Interpolate({self.shape}, {text(self.points)}, {self.boundary!r})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        plane = rng.uniform(-0.9, 3.5, (5, 2))
        moving = Parameter(rng.uniform(-1.0, 4.0, (2, 3, 2)), name="points")
        return [
            Interpolate((3, 4), plane),
            Interpolate((4, 3), plane, "edge"),
            Interpolate((1, 5), plane, "periodic"),
            Interpolate((6,), rng.uniform(-9.0, 9.0, (2, 3, 1)), "reflect"),
            Interpolate((2, 3, 2), rng.uniform(-3.0, 5.0, (4, 3)), "symmetric"),
            Interpolate((3, 4), moving),
            Interpolate((2, 4), moving, "edge"),
            Interpolate((3,), Parameter(rng.uniform(-4.0, 4.0, (4, 1))), "periodic"),
        ]


class Stencil:
    """Constant positions as weights and as the sparse matrix that they make.

    Parameters
    ----------
    positions : numpy.ndarray, shape ``(d, ...)``
        For each axis of the grid the coordinates of all points.
    shape : tuple of int
        The shape of the grid.
    boundary : str
        One of `opalg.program.sampling.BOUNDARIES`.
    relative : bool
        Whether coordinates count from the grid points.
    """

    def __init__(self, positions: np.ndarray, shape: Shape, boundary: str, relative: bool) -> None:
        lib = backend("numpy", "float64")
        found = list(corners(lib, list(positions), shape, boundary, relative))
        self.shape, self.points = shape, positions[0].shape
        self.places = np.stack([places.ravel() for places, _ in found])
        self.weights = np.stack([weights.ravel() for _, weights in found])
        self.stored = StoredMatrix(self._matrix)
        self._leaves = Indices(self.places), Constant(self.weights, copy=False)

    def _matrix(self) -> Any:
        import scipy.sparse

        count = self.places.shape[1]
        starts = len(self.places) * np.arange(count + 1)
        matrix = scipy.sparse.csr_array(
            (self.weights.T.ravel(), self.places.T.ravel(), starts), shape=(count, int(np.prod(self.shape)))
        )
        matrix.sum_duplicates()
        matrix.eliminate_zeros()
        return matrix

    def kernel(self) -> Kernel:
        """The kernel that reads the grid."""
        arguments = (self.stored, *self._leaves, self.shape, self.points)
        return Kernel(read_grid, arguments, in_place=False, fresh=True, passes=4.0)

    def adjoint_kernel(self) -> Kernel:
        """The kernel that adds to the grid."""
        arguments = (self.stored, *self._leaves, self.shape, self.points)
        return Kernel(add_to_grid, arguments, in_place=False, fresh=True, passes=4.0)

    @cached_property
    def facts(self) -> Facts:
        """A bound by Schur's test, and whether every point is an entry of its own."""
        rows = self.weights.sum(axis=0)
        columns = np.bincount(self.places.ravel(), self.weights.ravel())
        if np.all(rows == 1.0) and np.all(self.weights.max(axis=0) == 1.0) and columns.max() == 1.0:
            whole = len(rows) == int(np.prod(self.shape))
            return Facts(gram_scale=Literal(1.0) if whole else None, cogram_scale=Literal(1.0), norm=exact(1.0))
        return Facts(norm=upper(sqrt(float(rows.max() * columns.max()))))


def coordinates(value: Any, owner: str) -> Expression:
    """Coordinates as a real expression; whole numbers are taken as they are.

    Raises
    ------
    DtypeError
        Where they are complex.
    """
    if isinstance(value, np.ndarray) and value.dtype.kind in "iu":
        value = value.astype(float)
    data = as_data(value, owner)
    if data.kind != "real":
        raise DtypeError(f"the {owner} must be real, but are complex; stack real and imaginary part on an axis")
    return data


def host_array(data: Constant) -> np.ndarray:
    """The entries of a real constant on the host, in double precision."""
    return backend("numpy", "float64").asarray(data.value, "real")


def check_sampling(shape: Shape, boundary: str, owner: str) -> None:
    """Raise where a shape has no entries, or there is no such boundary."""
    if not shape or 0 in shape:
        raise ShapeError(f"{owner} needs a shape with axes and without zeros, not {shape}")
    if boundary not in BOUNDARIES:
        raise UnsupportedError(f"{owner} has the boundaries {', '.join(map(repr, BOUNDARIES))}, but not {boundary!r}")


def parts_of(data: Expression, axis: int) -> list[Expression]:
    """The coordinates of each axis of the grid, which lie along a negative axis of data."""
    return [Apply(Component(data.shape, axis, k), data) for k in range(data.shape[axis])]


def read_grid(
    lib: Any, x: Any, stored: Any, places: Any, weights: Any, shape: Any, points: Any, out: Any = None
) -> Any:
    """Weighted sums of grid entries, by a sparse matrix where the library has them."""
    matrix = stored.on(lib)
    if matrix is not None:
        return multiply_stored(lib, matrix, x, shape, points)
    batch = tuple(x.shape[: x.ndim - len(shape)])
    flat = lib.xp.reshape(x, (*batch, prod(shape)))
    total = lib.take(flat, places[0, ...], -1) * weights[0, ...]
    for corner in range(1, weights.shape[0]):
        total = total + lib.take(flat, places[corner, ...], -1) * weights[corner, ...]
    return lib.xp.reshape(total, (*batch, *points))


def add_to_grid(
    lib: Any, y: Any, stored: Any, places: Any, weights: Any, shape: Any, points: Any, out: Any = None
) -> Any:
    """The adjoint of `read_grid`."""
    matrix = stored.on(lib, True)
    if matrix is not None:
        return multiply_stored(lib, matrix, y, points, shape)
    batch = tuple(y.shape[: y.ndim - len(points)])
    flat, size = lib.xp.reshape(y, (*batch, prod(points))), prod(shape)
    total = lib.add_at(flat * weights[0, ...], places[0, ...], size, -1)
    for corner in range(1, weights.shape[0]):
        total = total + lib.add_at(flat * weights[corner, ...], places[corner, ...], size, -1)
    return lib.xp.reshape(total, (*batch, *shape))
