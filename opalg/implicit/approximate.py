"""Gradients by modes that are not exact, on the map of the method itself; their results are called heuristic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from opalg.implicit.arguments import Cotangents, Options, Request
from opalg.implicit.expressions import like, pulled
from opalg.implicit.general import General
from opalg.implicit.linear_solve import Solved
from opalg.implicit.linearise import Lineariser
from opalg.implicit.modes import approximate_adjoint, unrolled_gradient
from opalg.implicit.moves import through_readout, variables_at
from opalg.implicit.programs import Arrays, plus, size
from opalg.implicit.system import MapEquation

UNROLLED = 100  # steps where none are given
GROWN = 1e8  # growth of a sample's terms over its cotangent after which it is lost


def approximate_gradients(
    lineariser: Lineariser, cotangents: Cotangents, request: Request, asked: Options
) -> tuple[Arrays, Solved]:
    """The gradients, and the solve of the adjoint as far as there was one."""
    way = _unrolled if asked.mode == "unroll" else _truncated
    return way(_Map(lineariser, request), cotangents, asked)


class _Map:
    """The method's map with its derivatives, on tuples of arrays."""

    def __init__(self, lineariser: Lineariser, request: Request) -> None:
        self.lineariser, self.request, self.leaves = lineariser, request, request.leaves
        self.lib = lineariser.lib
        assert isinstance(lineariser.equation, MapEquation)
        self.equation = lineariser.equation
        self.programs = lineariser.programs
        self.general = lineariser.general(lineariser.start)

    def step(self, state: tuple[Any, ...]) -> tuple[Any, ...]:
        """``T(z)``"""
        recipe = lambda: (list(self.equation.image), self.equation.point)  # noqa: E731
        return tuple(self.programs("image", recipe, *state))

    def pull(self, state: Sequence[Any], u: Sequence[Any]) -> tuple[tuple[Any, ...], Arrays]:
        """The transposed derivatives of ``T`` in the state and in the parameters."""
        equation = self.equation

        def recipe() -> Any:
            a = like(equation.point, "a")
            return pulled(self.request.enter(equation.image), a, [*equation.point, *self.leaves]), [*equation.point, *a]

        found = self.programs(("pull of T", tuple(self.leaves)), recipe, *state, *u)
        return tuple(found[: len(equation.point)]), found[len(equation.point) :]

    def through_readout(self, state: Arrays, cotangents: Cotangents) -> tuple[Arrays, Arrays]:
        """The cotangent of the state, and the part of the gradient that goes through the read-out."""
        given = cotangents(variables_at(self.equation, self.programs, state))
        return through_readout(self.equation, self.programs, state, given, self.request)


def _truncated(map_: _Map, cotangents: Cotangents, asked: Options) -> tuple[Arrays, Solved]:
    lib, general = map_.lib, map_.general
    c, direct = map_.through_readout(general.point, cotangents)
    flat = general.space.pack(c)
    products = _Products(general, flat)
    found = approximate_adjoint(asked.mode, products, flat, lib, asked.terms, asked.damping)
    u = products.without_lost(found.u)
    left = lib.subtract(flat, general.transposed(u))
    relative = size([left], lib) / max(size([flat], lib), lib.tiny)
    _, gradients = map_.pull(general.point, general.space.unpack(u))
    solved = Solved(u, relative, found.products, asked.mode, None, "", 1.0, sample_outcomes=products.outcomes)
    return plus(direct, gradients, lib), solved


class _Products:
    """``J^T u`` for the terms of a series; where there are samples, one whose terms grow without end is lost alone.

    Parameters
    ----------
    general : General
    cotangent : flat array
    """

    def __init__(self, general: General, cotangent: Any) -> None:
        self.general, self.lib, self.rows = general, general.lib, general.rows
        self._lost: np.ndarray | None = None
        if self.rows is not None:
            self._most = GROWN * self._lengths(cotangent)
            self._lost = np.zeros(self.rows.count, dtype=bool)

    def __call__(self, u: Any) -> Any:
        with np.errstate(over="ignore", invalid="ignore"):
            found = self.lib.subtract(u, self.general.transposed(u))
            if self._lost is not None:
                self._lost = self._lost | ~(self._lengths(found) <= self._most)
            return self.without_lost(found)

    def without_lost(self, flat: Any) -> Any:
        """A flat array with zero for the samples that are lost."""
        if self._lost is None or self.rows is None or not self._lost.any():
            return flat
        lost, zero = self.lib.asarray(self._lost)[:, None], self.lib.zeros((1, 1))
        return self.rows.flat(self.lib.xp.where(lost, zero, self.rows.rows(flat)))

    @property
    def outcomes(self) -> tuple[str | None, ...]:
        """``"diverged"`` for samples that are lost; nothing where there are no samples."""
        return () if self._lost is None else tuple("diverged" if lost else None for lost in self._lost)

    def _lengths(self, flat: Any) -> np.ndarray:
        assert self.rows is not None
        rows = self.rows.rows(flat)
        largest = self.lib.xp.max(self.lib.xp.abs(rows), axis=1)
        return np.asarray(self.lib.to_numpy(largest), dtype=np.float64)


def _unrolled(map_: _Map, cotangents: Cotangents, asked: Options) -> tuple[Arrays, Solved]:
    """Through so many steps from the default start; no matter how the solution was found."""
    lib = map_.lib
    begin = map_.lineariser.default_state()
    readouts: list[Arrays] = []

    def cotangent(state: tuple[Any, ...]) -> tuple[Any, ...]:
        c, direct = map_.through_readout(list(state), cotangents)
        readouts.append(direct)
        return tuple(c)

    found = unrolled_gradient(map_.step, map_.pull, begin, cotangent, asked.terms or UNROLLED)
    left = size(list(found.start_cotangent), lib)
    state = map_.general.space.pack(list(found.state))
    gradients = plus(readouts[0], list(found.gradients), lib)
    return gradients, Solved(state, left, found.products, "unroll", None, "", 1.0)
