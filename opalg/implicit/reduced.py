"""Symmetric systems on the active part: smooth energies, and terms that hold whole entries of ``K x``.

With the entries ``I`` of ``K x`` held and the curvature ``C`` on the others, ``J^T a = (b, b')`` is the minimisation of
``<w, (H + K^T C K) w> / 2 - <g, w>`` over all w with ``(K w)_I`` given: conjugate gradients in the null space of the
inactive rows, which for differences is the space of functions constant on connected components.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from opalg.implicit.active import Active
from opalg.implicit.dense_system import Columns, DenseSystem, solve_directly, write_out
from opalg.implicit.jacobian import Jacobian
from opalg.implicit.linear_solve import Accuracy, Flat, Solved, solve_symmetric
from opalg.implicit.null_space import NullSpace
from opalg.implicit.programs import Arrays, Programs, minus, plus, times
from opalg.implicit.system import Optimality
from opalg.iterations.vectors import norm
from opalg.program import expression as ex
from opalg.program.expression import Expression, Input, Literal

NOTHING = 10.0  # multiples of epsilon that are left where a projection should give zero


class Reduced(Jacobian):
    """``J`` by conjugate gradients on the active part.

    Parameters
    ----------
    equation : Optimality
    programs : Programs
    point : list of array
    active : Active
        With every term held by entries.
    null_space : NullSpace or None
        Of the inactive rows; None where nothing is held.
    precondition : callable, optional
        ``Reduced -> callable or None``: makes an approximate inverse of ``H + K^T C K`` on flat arrays, when needed.
    direct : bool
        Whether a small system is solved by its matrix.
    """

    def __init__(
        self,
        equation: Optimality,
        programs: Programs,
        point: Arrays,
        active: Active,
        null_space: NullSpace | None,
        precondition: Callable[[Reduced], Flat | None] | None = None,
        direct: bool = True,
    ) -> None:
        super().__init__(equation, programs, point)
        self.optimality, self.active, self.null_space = equation, active, null_space
        self.count = len(equation.variables)
        self.x, self.v = self.point[: self.count], self.point[self.count :]
        self.space = self._space(equation.x)
        self.rows = self._space(equation.v) if equation.split else None
        self.penalties = [programs.controls[s.penalty] for s in equation.split]
        self._make_precondition, self._direct = precondition, direct
        self.columns: Columns | None = None  # of systems with the same matrix, where they are kept

    @property
    def name(self) -> str:  # type: ignore[override]
        """``"hessian"`` without split terms, else ``"reduced"``."""
        return "reduced" if self.optimality.split else "hessian"

    def solve_adjoint(self, b: Arrays, accuracy: Accuracy, start: Any = None) -> tuple[Arrays, Solved]:
        lib = self.lib
        first, second = b[: self.count], b[self.count :]
        held = [lib.multiply(s, 1.0 / p) for s, p in zip(second, self.penalties, strict=True)]
        bent = self._on_active(plus(second, self._curved(held), lib)) if second else []
        g = plus(first, self._back(bent), lib) if second else first
        w, solved = self._constrained(g, held, accuracy, start)
        if not second:
            return w, solved
        pull = minus(self._curved(self._forward(w)), bent, lib)
        left = minus(first, plus(self._hessian(w), self._back(pull), lib), lib)
        return [*w, *plus(pull, self._multipliers(left), lib)], solved

    def solve_forward(self, r: Arrays, accuracy: Accuracy, start: Any = None) -> tuple[Arrays, Solved]:
        lib = self.lib
        first, second = r[: self.count], r[self.count :]
        g = plus(first, self._back(self._curved(second)), lib) if second else first
        x, solved = self._constrained(g, second, accuracy, start)
        if not second:
            return x, solved
        moved = self._on_active(minus(self._forward(x), second, lib))
        pull = self._curved(moved)
        left = minus(first, plus(self._hessian(x), self._back(pull), lib), lib)
        pull = plus(pull, self._multipliers(left), lib)
        parts = zip(moved, pull, self.penalties, strict=True)
        return [*x, *(lib.add(u, lib.multiply(q, 1.0 / s)) for u, q, s in parts)], solved

    def _constrained(self, g: Arrays, held: Arrays, accuracy: Accuracy, start: Any) -> tuple[Arrays, Solved]:
        """Minimise ``<w, A w> / 2 - <g, w>`` over the w with ``(K w)_I = held_I``."""
        lib, space = self.lib, self.space
        flat = space.view(g)
        null, base = self.null_space, None
        if null is not None:
            assert self.rows is not None
            fixed = self._inactive(held)
            if bool(lib.xp.any(self.rows.pack(fixed) != 0)):
                base = null.particular(self.rows.pack(fixed))
                flat = lib.subtract(flat, self._product(base))
            whole, flat = norm(flat, lib), null.project(flat)
            if norm(flat, lib) <= NOTHING * lib.epsilon * whole:
                flat = lib.multiply(flat, 0.0)  # what projecting leaves is rounding, which no solve makes better
        solved = self._solved(flat, accuracy, start)
        w = solved.state if base is None else lib.add(solved.state, base)
        return [lib.copy(p) for p in space.unpack(w)], solved

    def _solved(self, flat: Any, accuracy: Accuracy, start: Any) -> Solved:
        """The system solved on the null space: by its matrix where that is small and definite, else by products."""
        null = self.null_space
        project: Flat = null.project if null is not None else lambda z: z

        def apply(z: Any) -> Any:
            return project(self._product(z))

        known = "dense" in vars(self)
        dense = self.dense if self._direct and self.batch is None and self.dimension < accuracy.max_iter else None
        if dense is not None and dense.is_definite:
            found = solve_directly(dense, apply, flat, accuracy)
            if found is not None:
                return found if known else replace(found, products=found.products + dense.columns)
        precondition = self.inverse
        return solve_symmetric(
            apply,
            flat,
            self.lib,
            accuracy,
            start=None if start is None else project(start),
            precondition=None if precondition is None else lambda z: project(precondition(z)),
            batch=self.batch,
            project=None if null is None else null.project,
        )

    @property
    def dimension(self) -> int:
        """The number of unknowns."""
        return self.space.size if self.null_space is None else self.null_space.dimension

    @cached_property
    def dense(self) -> DenseSystem | None:
        """The system as a matrix; None where it is large."""
        return write_out(self._product, self.space.size, self.null_space, self.lib, columns=self.columns)

    def keep_factors_of(self, other: Reduced) -> None:
        """Take over what is known of a system that has the same matrix."""
        vars(self).update({name: vars(other)[name] for name in ("dense", "inverse") if name in vars(other)})

    @cached_property
    def inverse(self) -> Flat | None:
        """An approximate inverse of the system; None where none is known."""
        return None if self._make_precondition is None else self._make_precondition(self)

    @property
    def is_flat(self) -> bool:
        """Whether no term has a curvature."""
        return all(form == "flat" for form in self.active.forms)

    @property
    def has_unique_multipliers(self) -> bool:
        """Whether the held rows are independent, so that their multipliers are determined."""
        return self.null_space is None or self.null_space.unique

    def product(self, flat: Any) -> Any:
        """``(H + K^T C K) w`` on flat arrays; a buffer that the next product may overwrite."""
        return self._product(flat)

    def curved(self, d: Arrays) -> Arrays:
        """``C d`` on the active entries."""
        return self._curved(d)

    # Products.

    def _product(self, flat: Any) -> Any:
        """``(H + K^T C K) w``"""
        bound = self.programs.bound(("product", self.active.forms), self._product_recipe)
        found = bound(*self.x, *self.active.u, *self.active.masks, *self.active.diagonals, *self.space.unpack(flat))
        return self.space.view(found)

    def _curved(self, d: Arrays) -> Arrays:
        """``C d`` on the active entries."""
        if self.is_flat:
            return times(0.0, d, self.lib)
        bound = self.programs.bound(("curved", self.active.forms), self._curved_recipe)
        return list(bound(*self.active.u, *self.active.masks, *self.active.diagonals, *d))

    def _forward(self, w: Arrays) -> Arrays:
        return self.programs("forward", lambda: (self.optimality.forward(self.optimality.x), self.optimality.x), *w)

    def _back(self, p: Arrays) -> Arrays:
        return self.programs("back", lambda: (self.optimality.back(self.optimality.v), self.optimality.v), *p)

    def _hessian(self, w: Arrays) -> Arrays:
        return self.programs("hessian", self._hessian_recipe, *self.x, *w)

    def _on_active(self, d: Arrays) -> Arrays:
        return [self.lib.multiply(p, m) for p, m in zip(d, self.active.masks, strict=True)]

    def _inactive(self, d: Arrays) -> Arrays:
        return minus(d, self._on_active(d), self.lib)

    def _multipliers(self, left: Arrays) -> Arrays:
        """The ``p`` on the inactive rows with ``K_I^T p_I`` equal to what is left of the first equation."""
        assert self.rows is not None
        if self.null_space is None:
            return times(0.0, self.active.u, self.lib)
        return list(self.rows.unpack(self.null_space.multipliers(self.space.pack(left))))

    # Recipes.

    def _product_recipe(self) -> tuple[list[Expression], Sequence[Input]]:
        equation = self.optimality
        u, m, c = self._curvature_inputs()
        w = [Input(f"w{i}", x.shape, x.kind) for i, x in enumerate(equation.x)]
        found = equation.hessian(w)
        if equation.split:
            curved = self._curvature(u, m, c, equation.forward(w))
            found = [a + b for a, b in zip(found, equation.back(curved), strict=True)]
        return found, [*equation.x, *u, *m, *c, *w]

    def _curved_recipe(self) -> tuple[list[Expression], Sequence[Input]]:
        u, m, c = self._curvature_inputs()
        d = [Input(f"d{i}", v.shape, v.kind) for i, v in enumerate(self.optimality.v)]
        return self._curvature(u, m, c, d), [*u, *m, *c, *d]

    def _hessian_recipe(self) -> tuple[list[Expression], Sequence[Input]]:
        w = [Input(f"w{i}", x.shape, x.kind) for i, x in enumerate(self.optimality.x)]
        return self.optimality.hessian(w), [*self.optimality.x, *w]

    def _curvature_inputs(self) -> tuple[list[Input], list[Input], list[Input]]:
        v = self.optimality.v
        u = [Input(f"u{i}", p.shape, p.kind) for i, p in enumerate(v)]
        m, c = ([Input(f"{name}{i}", p.shape, "real") for i, p in enumerate(v)] for name in "mc")
        return u, m, c

    def _curvature(
        self, u: Sequence[Expression], m: Sequence[Expression], c: Sequence[Expression], d: Sequence[Expression]
    ) -> list[Expression]:
        """``C d`` for every split term, in the form that is known of it."""
        found: list[Expression] = []
        for split, form, at, mask, diagonal, along in zip(
            self.optimality.split, self.active.forms, u, m, c, d, strict=True
        ):
            if form == "diagonal":
                part: Expression = diagonal * along
            elif form == "hessian":
                curved = split.curvature(at, mask * along)
                assert curved is not None
                part = mask * curved
            else:
                part = Literal(0.0) if along.kind == "real" else Literal(0j)
            found.append(ex.broadcast_to(part, along.shape))
        return found
