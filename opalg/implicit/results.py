"""From arrays to `Gradients`: each in the precision and kind of its parameter, with what is known of its error."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from opalg.arrays import Backend
from opalg.implicit.arguments import Request
from opalg.implicit.estimate import SAFETY, Estimated
from opalg.implicit.flags import DOUBTS, NO_BOUND
from opalg.implicit.gradients import Adjoint, Gradients
from opalg.implicit.judgement import Judged
from opalg.implicit.linear_solve import Solved
from opalg.implicit.programs import Arrays, minus, size
from opalg.implicit.refine import Linearised
from opalg.implicit.samples import PerSample


@dataclass(frozen=True)
class Results:
    """What is handed out for a request.

    Attributes
    ----------
    request : Request
    lib : Backend
        Of the plan, whose precision results have; they may have been computed in more.
    """

    request: Request
    lib: Backend

    def exact(
        self,
        here: Linearised,
        values: Arrays,
        judged: Judged,
        found: Estimated | None,
        flags: tuple[str, ...],
        counts: dict[str, int],
        margin: float | None,
        apart: PerSample | None = None,
    ) -> Gradients:
        """Gradients from the solution of an adjoint system."""
        request, lib = self.request, self.lib
        named = self.named(values)
        errors = debiased = None
        if found is not None:
            working = here.jacobian.lib.epsilon
            floor = max(working * min(judged.condition, 1.0 / working), lib.epsilon)
            wrong = request.named(found.errors)
            errors = {p: _error(e, named[p], floor, lib) for p, e in wrong.items()} | dict.fromkeys(request.zeros, 0.0)
            debiased = {**self.named(minus(values, found.errors, lib)), **request.zeros}
        doubtful = DOUBTS & set(flags)
        kind = "heuristic" if doubtful or (found is not None and not found.converged) else "estimated"
        kind = "none" if found is None and kind == "estimated" else kind
        return Gradients(
            {**named, **request.zeros},
            judged.solved.relative,
            here.jacobian.name,
            judged.solved.solver,
            tuple(dict.fromkeys(flags)),
            counts,
            errors,
            kind,
            margin,
            Adjoint(here.jacobian.name, judged.solved.state, judged.solved.pairs),
            debiased,
            judged.spectrum,
            None if apart is None else self.named(apart.gradients),
            () if apart is None else apart.residuals,
            () if apart is None else apart.flags,
        )

    def heuristic(self, values: Arrays, solved: Solved, mode: str, flags: tuple[str, ...]) -> Gradients:
        """Gradients by a mode that is not exact."""
        arrays = {**self.named(values), **self.request.zeros}
        counts = {"adjoint": solved.products}
        return Gradients(arrays, solved.relative, "map", mode, flags, counts, error_kind="heuristic")

    def of_value(self, values: Arrays, products: int) -> Gradients:
        """Gradients of the optimal value."""
        arrays = {**self.named(values), **self.request.zeros}
        return Gradients(
            arrays, 0.0, "value", "none", self.request.flags, {"refine": products}, None, error_kind="none"
        )

    def nothing(self, flags: tuple[str, ...]) -> Gradients:
        """Gradients that are exactly zero."""
        values = self.request.named([self.lib.zeros(p.shape, p.kind) for p in self.request.leaves])
        zero = dict.fromkeys((*values, *self.request.zeros), 0.0)
        return Gradients({**values, **self.request.zeros}, 0.0, "none", "none", flags, {}, zero, "certified", None)

    def with_bounds(self, found: Gradients, bounds: list[float] | None, rounded: bool) -> Gradients:
        """Gradients with certified errors in the place of estimates, or a flag where there are none.

        Rounding to the precision of the plan adds to them.
        """
        if bounds is None:
            return replace(found, flags=(*found.flags, NO_BOUND))
        part = self.lib.epsilon if rounded else 0.0
        pairs = zip(self.request.leaves, bounds, strict=True)
        errors = {leaf: bound + part * size([found[leaf]], self.lib) for leaf, bound in pairs}
        zeros = dict.fromkeys(self.request.zeros, 0.0)
        return replace(found, error_estimates={**errors, **zeros}, error_kind="certified")

    def named(self, values: Arrays) -> dict[Any, Any]:
        """Gradients by what was asked for, each of the kind of its parameter."""
        kinds = zip(self.request.leaves, values, strict=True)
        return self.request.named([self.lib.asarray(g, leaf.kind) for leaf, g in kinds])


def _error(error: Any, gradient: Any, floor: float, lib: Backend) -> float:
    """The norm of an estimated error, and no less than what rounding makes of the gradient."""
    return max(SAFETY * size([error], lib), floor * size([gradient], lib))
