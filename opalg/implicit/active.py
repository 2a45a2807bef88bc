"""The active part of split terms at a point: which entries may move, and with what curvature.

At ``v`` the derivative ``P`` of ``prox_{w h / s}`` is symmetric. Where its range consists of whole entries, the term
holds ``K x`` fixed on the others and has the curvature ``C = s (P^+ - I)`` on the range: for l1 the support and 0, for
groups the active groups and ``w (I - n n^T) / |z|``. Whether that is so is not declared but found, by applying ``P`` to
random vectors, and verified; so every functional with a prox takes part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from opalg.facts import YES
from opalg.implicit.programs import Programs
from opalg.implicit.symmetry import is_symmetric, symmetry_defect
from opalg.implicit.system import Optimality
from opalg.iterations import VectorSpace
from opalg.program import expression as ex
from opalg.program.expression import Expression, Input, Literal

AGREES = {"float64": 1e-7, "float32": 1e-3}  # of the check that P (d + C d / s) = d on the active entries
SEED = 20
ROUNDING = 1e3  # multiples of epsilon that a transform may leave of a derivative that is zero


@dataclass(frozen=True)
class Active:
    """The active part of every split term at a point.

    Attributes
    ----------
    masks : list of array
        1 where an entry of ``K x + b`` may move, 0 where it is held.
    forms : tuple of str or None
        How the curvature of each term is known: ``"flat"`` (0), ``"diagonal"`` or ``"hessian"``; None where the term's
        range is not one of whole entries.
    diagonals : list of array
        The curvature of diagonal terms, else zeros.
    u : list of array
        The proxes at the point.
    """

    masks: list[Any]
    forms: tuple[str | None, ...]
    diagonals: list[Any]
    u: list[Any]

    @property
    def by_entries(self) -> bool:
        """Whether every term holds and frees whole entries, with a known curvature."""
        return None not in self.forms

    def same_as(self, other: Active, lib: Any) -> bool:
        """Whether the same entries are held."""
        return all(not bool(lib.xp.any(a != b)) for a, b in zip(self.masks, other.masks, strict=True))


class Inspector:
    """Finds the active part of the split terms of an equation.

    Parameters
    ----------
    equation : Optimality
    programs : Programs
    """

    def __init__(self, equation: Optimality, programs: Programs) -> None:
        self.equation, self.programs, self.lib = equation, programs, programs.lib
        rng = np.random.default_rng(SEED)
        self._probe = [self._random(rng, s.v) for s in equation.split]
        self._second = [self._random(rng, s.v) for s in equation.split]

    @property
    def directions(self) -> list[Any]:
        """Random directions without a zero entry, one for each split term."""
        return self._probe

    def masks(self, v: list[Any]) -> list[Any]:
        """1 where an entry may move when v moves, 0 where it is held."""
        moved = self.derivatives(v, self._probe)
        return [self.lib.asarray(self.lib.xp.abs(m) > self.smallest, "real") for m in moved]

    @property
    def smallest(self) -> float:
        """A derivative along the probe, whose entries are about 1, below which there is only rounding."""
        return ROUNDING * self.lib.epsilon

    def inspect(self, v: list[Any]) -> Active:
        """The active part at the arguments v of the proxes."""
        lib, split = self.lib, self.equation.split
        masks = self.masks(v)
        u = self.programs("proxes", self.proxes, *v)
        free = [lib.multiply(r, m) for r, m in zip(self._second, masks, strict=True)]
        forms: list[str | None] = [None] * len(split)
        diagonals = [lib.zeros(s.v.shape) for s in split]
        for form, curved in self._candidates(v, u, masks, free, diagonals):
            again = self.derivatives(v, [lib.add(d, c) for d, c in zip(free, curved, strict=True)])
            for i, (a, d, c) in enumerate(zip(again, free, curved, strict=True)):
                if forms[i] is None and self._agrees(a, d, c) and self._may_be(form, i):
                    forms[i] = form
            if None not in forms:
                break
        diagonals = [
            d if f == "diagonal" else lib.zeros(s.v.shape) for d, f, s in zip(diagonals, forms, split, strict=True)
        ]
        return Active(masks, tuple(forms), diagonals, u)

    def _candidates(self, v: Any, u: Any, masks: Any, free: Any, diagonals: list[Any]) -> Any:
        """Ways to know the curvature, with ``C d / s`` for the random active d."""
        lib, split = self.lib, self.equation.split
        yield "flat", [lib.zeros(s.v.shape, s.v.kind) for s in split]
        if any(self._may_be("diagonal", i) for i in range(len(split))):
            ones = [lib.add(lib.zeros(s.v.shape, s.v.kind), 1.0) for s in split]
            pairs = zip(self.derivatives(v, ones), split, strict=True)
            slopes = [lib.xp.real(p) if s.v.kind == "complex" else p for p, s in pairs]
            # a derivative that couples entries may give 0 for ones on an active entry; the check below refuses it
            inverse = [m / lib.xp.where((m > 0) & (p != 0), p, m + 1.0) for m, p in zip(masks, slopes, strict=True)]
            bare = [lib.subtract(i, m) for i, m in zip(inverse, masks, strict=True)]
            penalties = [self.programs.controls[s.penalty] for s in split]
            diagonals[:] = [lib.multiply(b, p) for b, p in zip(bare, penalties, strict=True)]
            yield "diagonal", [lib.multiply(d, b) for d, b in zip(free, bare, strict=True)]
        curved = self.programs("curvature at u", self._hessians, *u, *masks, *free)
        penalties = [self.programs.controls[s.penalty] for s in split]
        yield "hessian", [lib.multiply(c, 1.0 / p) for c, p in zip(curved, penalties, strict=True)]

    def _may_be(self, form: str, i: int) -> bool:
        split = self.equation.split[i]
        if form == "diagonal":
            return split.term.functional.facts.separable is YES and split.v.kind == "real"
        return True

    def _agrees(self, again: Any, free: Any, curved: Any) -> bool:
        xp, lib = self.lib.xp, self.lib
        if 0 in free.shape:
            return True
        worst = self._largest(xp.abs(lib.subtract(again, free)))
        rounding = 100 * lib.epsilon * self._largest(xp.abs(curved))
        return worst <= AGREES[lib.precision] * max(self._largest(xp.abs(free)), lib.tiny) + rounding

    def _largest(self, a: Any) -> float:
        return float(self.lib.item(self.lib.xp.max(a)).real)

    def derivatives(self, v: list[Any], d: list[Any]) -> list[Any]:
        """The derivatives of the proxes at v, times d."""
        return self.programs("derivatives", self._derivative_recipe, *v, *d)

    def is_symmetric(self, v: list[Any]) -> bool:
        """Whether the derivatives of the proxes at v are symmetric, as they are everywhere but on kinks."""
        space = VectorSpace([s.v.shape for s in self.equation.split], [s.v.kind for s in self.equation.split], self.lib)
        defect = symmetry_defect(
            lambda flat: space.pack(self.derivatives(v, list(space.unpack(flat)))), space.size, self.lib
        )
        return is_symmetric(defect, self.lib)

    def _random(self, rng: np.random.Generator, node: Any) -> Any:
        sizes = rng.uniform(0.5, 1.5, node.shape) * rng.choice([-1.0, 1.0], node.shape)
        if node.kind == "complex":
            sizes = sizes * np.exp(1j * rng.uniform(0, np.pi, node.shape))
        return self.lib.asarray(sizes, node.kind)

    # Recipes.

    def proxes(self) -> tuple[list[Expression], list[Input]]:
        """The recipe of the proxes at v."""
        split = self.equation.split
        return [ex.broadcast_to(s.prox(s.v), s.v.shape) for s in split], [s.v for s in split]

    def _derivative_recipe(self) -> tuple[list[Expression], list[Input]]:
        split = self.equation.split
        d = [Input(f"d{i}", s.v.shape, s.v.kind) for i, s in enumerate(split)]
        return self.equation.derivatives(d), [*(s.v for s in split), *d]

    def _hessians(self) -> tuple[list[Expression], list[Input]]:
        split = self.equation.split
        u, d = ([Input(f"{n}{i}", s.v.shape, s.v.kind) for i, s in enumerate(split)] for n in "ud")
        m = [Input(f"m{i}", s.v.shape, "real") for i, s in enumerate(split)]
        found = []
        for s, at, mask, along in zip(split, u, m, d, strict=True):
            curved = s.curvature(at, along)
            found.append(ex.broadcast_to(Literal(0.0) if curved is None else mask * curved, along.shape))
        return found, [*u, *m, *d]


__all__ = ["Active", "Inspector"]
