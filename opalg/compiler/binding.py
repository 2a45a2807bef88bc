"""A plan bound to arrays: the compiled functions of one lowering at one set of parameter values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from math import inf, isfinite, sqrt
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from opalg.arrays import Backend
from opalg.compiler.arguments import in_precision
from opalg.compiler.compiled import CompiledEnergy, relative_violation, sum_all
from opalg.emit import BoundFunction, Function
from opalg.energies.affine import Variable
from opalg.energies.energy import Term
from opalg.errors import ConvexityError, ParameterError, UnsupportedError
from opalg.facts import YES
from opalg.functionals.linear import Linear
from opalg.iterations import Iteration
from opalg.iterations.anderson import CompiledAnderson
from opalg.iterations.backtracking import Backtracking
from opalg.iterations.compiled import Balance, CompiledPicard
from opalg.iterations.nesterov import Nesterov
from opalg.leaves import Leaf, Parameter
from opalg.methods.problem import value_near
from opalg.nodes import walk
from opalg.program.expression import Expression, Input
from opalg.program.interpreter import evaluate
from opalg.program.opaque import opaque_functions
from opalg.solving.certificate import RESOLUTION, Certificate, gap_certificate
from opalg.solving.loop import Measurement, quiet

UNRESOLVED = 1e-13  # what sums of parts of size one do not resolve in double precision
SINGULAR = 1e-14  # an eigenvalue that is smaller beside the largest is taken for zero


class Binding:
    """Compiled functions at one set of parameter values.

    Parameters
    ----------
    compiled : CompiledEnergy
    values : mapping from Parameter to array

    Raises
    ------
    ParameterError, ConvexityError, UnsupportedError
        Where a parameter leaves its domain, a weight is negative, or a method's condition fails at these values.
    """

    def __init__(self, compiled: CompiledEnergy, values: Mapping[Parameter, Any]) -> None:
        self.compiled, self.lib = compiled, compiled.lib
        self.lowering, self.problem = compiled.lowering, compiled.problem
        self.values = dict(values)
        self.known: dict[Any, Any] = {}
        self.hoisted: WeakValueDictionary[Any, Any] = WeakValueDictionary()
        self.convex = self.problem.convex is YES
        self._check_parameters()
        self.controls = {c: self.number(e) for c, e in self.lowering.controls.items()}
        if self.lowering.epsilon is not None:
            self.controls[self.lowering.epsilon] = self.lib.epsilon
        self._first_controls = dict(self.controls)
        self._check_method()

    def number(self, expression: Expression, controls: Mapping[Input, float] | None = None) -> float:
        """A scalar formula of leaves (and controls) at these values, in double precision."""
        precise, at = self.compiled.precise, controls or {}
        with quiet():  # on the border of a domain values may be infinite, and formulas say what then holds
            if self.compiled.opaque and opaque_functions(expression):
                known = {c: self.lib.asarray(v, "real") for c, v in at.items()}
                (value,) = evaluate([expression], {**self._arrays(self.lib), **known}, self.lib)
                return float(self.lib.item(value).real)
            if not at:
                (value,) = evaluate([expression], self._arrays(precise), precise, self.known)
            else:
                known = {c: precise.asarray(v, "real") for c, v in at.items()}
                (value,) = evaluate([expression], {**self._arrays(precise), **known}, precise)
        return float(precise.item(value).real)

    def _arrays(self, lib: Backend) -> dict[Leaf, Any]:
        return {p: lib.asarray(v, p.kind) for p, v in self.values.items()}

    def _check_parameters(self) -> None:
        for parameter, value in self.values.items():
            parameter.check(value)
        for term in self.problem.terms:
            for condition, strict, sentence in term.functional.define_conditions():
                found = self.number(condition)
                if found < 0 or (strict and found == 0):
                    raise ParameterError(f"in the term {term!r} {sentence}")
            weight = self.number(term.weight)
            if weight < 0 and not (term.functional.facts.indicator or isinstance(term.functional, Linear)):
                self.convex = False
                if not self.compiled.nonconvex or term in self.problem.rough_terms:
                    raise ConvexityError(
                        f"the term {term!r} has the weight {weight:g}; a convex energy needs nonnegative weights. For "
                        f"a smooth term, nonconvex=True accepts a stationary point."
                    )

    def _check_method(self) -> None:
        for control, value in self.controls.items():
            if not (isfinite(value) and value > 0):
                raise ParameterError(
                    f"the start value of {control.name} is {value:g}, which makes no step; check the data"
                )
        for margin, sentence in self.lowering.needs:
            if not self.number(margin, self.controls) > 0:
                raise UnsupportedError(sentence)
        for lowest, size, what in self.lowering.positive:
            value = self.number(lowest, self.controls)
            if not value > SINGULAR * self.number(size, self.controls):
                raise UnsupportedError(
                    f"{what} is {value:.3g}, so the method cannot divide by it; add a regulariser that sees every "
                    f"direction, or use method='primal_dual' or 'conjugate_gradient'"
                )

    @cached_property
    def strong_convexity(self) -> float:
        """A certified modulus, 0 where none is known or where it cannot be told from rounding."""
        modulus, smoothness = self.problem.strong_convexity, self.problem.smoothness
        if modulus is None or not self.convex:
            return 0.0
        found = self.number(modulus)
        rounding = 0.0 if smoothness is None else 1e-12 * self.number(smoothness.expression)
        return found if found > rounding else 0.0

    @cached_property
    def has_gap(self) -> bool:
        """Whether the duality gap means something at these values.

        The conjugate of ``0 f`` is the indicator of zero, and a singular operator repairs no dual point.
        """
        gap = self.compiled.gap
        weighted = [t for t in self.problem.terms if not t.functional.facts.indicator]
        if gap is None or not self.convex or any(self.number(t.weight) == 0 for t in weighted):
            return False
        if gap.lowest is None:
            return True
        lowest, size = (self.number(e, self._first_controls) for e in gap.lowest)
        return lowest > SINGULAR * size

    def bound(
        self,
        function: Function,
        controls: Mapping[Input, float] | None = None,
        held: Mapping[Parameter, Any] | None = None,
    ) -> BoundFunction:
        """A function at these values and controls, and at values of further leaves."""
        at = {**self.controls, **(controls or {})}
        given = {c: v for c, v in at.items() if c in function.inputs}
        if held is not None:  # what follows from these is not shared, since the next call may hold others
            return function.bind({**self._arrays(function.lib), **held}, given)
        return function.bind(self._arrays(function.lib), given, self.hoisted)

    first_residual: float | None = None

    def fresh(self) -> Binding:
        """The same functions with controls at their start again; for another solve, one at a time."""
        self.controls = dict(self._first_controls)
        self.first_residual = None
        return self

    def snapshot(self) -> Binding:
        """The values and controls as they are, apart from this binding's later changes."""
        twin = Binding.__new__(Binding)
        twin.compiled, twin.lib, twin.lowering, twin.problem = self.compiled, self.lib, self.lowering, self.problem
        twin.values, twin.known, twin.hoisted, twin.convex = self.values, self.known, self.hoisted, self.convex
        twin.controls, twin._first_controls = dict(self.controls), self._first_controls
        twin.first_residual = self.first_residual
        return twin

    def in_double(self) -> Binding | None:
        """The same with the data of functions cast to double precision once; None where networks have their own.

        Gradients of single-precision solves compute in it.
        """
        if self.compiled.opaque:
            return None
        twin = self.snapshot()
        twin.lib = self.compiled.precise
        leaves = (n for n in walk(*self.lowering.step, *self.lowering.readout.values()) if isinstance(n, Leaf))
        twin.values = in_precision(twin.lib, leaves, self.values)
        return twin

    # The pieces of a solve.

    @cached_property
    def step(self) -> BoundFunction:
        """The compiled step."""
        return self.bound(self.compiled.step)

    @cached_property
    def plain_step(self) -> BoundFunction:
        """The compiled map without acceleration."""
        return self.bound(self.compiled.plain_step)

    @cached_property
    def readout(self) -> BoundFunction:
        """The compiled read-out."""
        return self.bound(self.compiled.readout)

    @cached_property
    def look(self) -> BoundFunction:
        """The compiled measurement at the working precision."""
        return self.bound(self.compiled.look)

    @cached_property
    def certificate(self) -> BoundFunction:
        """The compiled measurement in double precision."""
        return self.look if self.compiled.certificate is self.compiled.look else self.bound(self.compiled.certificate)

    @cached_property
    def residual_function(self) -> BoundFunction:
        """The compiled residual."""
        return self.bound(self.compiled.residual)

    def initial_state(self, x0: Mapping[Variable, Any] | None) -> tuple[Any, ...]:
        """The state that a start of the variables implies."""
        if x0 is None:
            return self.default_state
        return self.start(*(self.lib.asarray(x0[v], v.kind) for v in self.problem.variables))

    @cached_property
    def start(self) -> BoundFunction:
        """The state from a start of the variables, compiled."""
        return self.bound(self.compiled.start)

    @cached_property
    def default_state(self) -> tuple[Any, ...]:
        """The state of the default start; to be copied, not written to."""
        return self.start(*self.bound(self.compiled.default_start)())

    def first_control(self, control: Input) -> float:
        """The value of a control at the start of a solve that is given no other."""
        return self._first_controls[control]

    def iteration(self, tol: float = 0.0) -> Iteration:
        """The iteration that the method asks for, not yet started; samples of their own rest at a tolerance."""
        low = self.lowering
        if low.search is not None:
            return self.compiled.search.iteration(self, tol)
        self._refresh(self.step)
        if low.iteration == "nesterov":
            assert low.step_size is not None
            return Nesterov(self.step, self.lib, low.step_size, self.controls[low.step_size], low.backtrack)
        if low.iteration == "anderson":
            return CompiledAnderson(self.step, self.lib)
        for balance in self.balances:
            balance.value = self.controls[balance.control]
        return CompiledPicard(self.step, self.lib, self.balances)

    @cached_property
    def balances(self) -> list[Balance]:
        """The controls to be balanced."""
        return [self._balance(*b) for b in self.compiled.balances]

    def _balance(self, control: Input, residuals: Function, rescaled: Function | None) -> Balance:
        measured = self.bound(residuals)

        def both(state: tuple[Any, ...]) -> tuple[float, float]:
            self.controls[control] = balance.value
            self._refresh(measured)
            first, second = (self._float(r) for r in measured(*state))
            return first, second

        balance = Balance(control, self.controls[control], both, imbalance=self.lowering.imbalance)
        if rescaled is not None:
            factor = next(i for i in rescaled.inputs if i.name == "factor")
            moved = self.bound(rescaled, {factor: 1.0})

            def move(state: tuple[Any, ...], amount: float) -> tuple[Any, ...]:
                moved.set_controls({**self.controls, factor: amount})
                out = moved(*state)
                self.controls[control] = balance.value
                return out

            balance.rescale = move
        return balance

    def _refresh(self, function: BoundFunction) -> None:
        function.set_controls({c: v for c, v in self.controls.items() if c in function.function.inputs})

    def _float(self, value: Any) -> float:
        return float(self.lib.item(value).real if hasattr(value, "dtype") else value.real)

    def synchronise(self, iteration: Iteration) -> None:
        """Take over the controls that an iteration has changed."""
        if isinstance(iteration, (Nesterov, Backtracking)):
            assert self.lowering.step_size is not None
            self.controls[self.lowering.step_size] = iteration.step_size
        if isinstance(iteration, CompiledPicard):
            self.controls.update({b.control: b.value for b in iteration.balances})

    def measure(self, iteration: Iteration, tol: float) -> Measurement:
        """Energy and certificate at an iteration's state.

        Looks on the way are taken at the working precision; whatever would end the solve is certified in double
        precision. A tolerance below the resolution of a gap, which is a difference of energies, is measured on the
        residual; so is a point that violates a constraint a little, since its energy bounds nothing.
        """
        self.synchronise(iteration)
        found = self._measured(iteration, tol, self.look)
        contradicted = self.has_gap and tol >= RESOLUTION and not found.certificate.is_bound  # for want of precision
        close = (found.certificate.relative <= 2.0 * tol and found.certificate.is_bound) or contradicted
        return self.certify(iteration, tol) if close and self.certificate is not self.look else found

    def certify(self, iteration: Iteration, tol: float) -> Measurement:
        """The measurement in double precision, at the arrays that are handed out."""
        self.synchronise(iteration)
        if self.certificate is self.look:
            return self._measured(iteration, tol, self.look)
        self._refresh(self.readout)
        return self._measured(iteration, tol, self.certificate, self.readout(*iteration.state))

    def _measured(
        self, iteration: Iteration, tol: float, function: BoundFunction, handed: tuple[Any, ...] = ()
    ) -> Measurement:
        self._refresh(function)
        lib = function.lib
        arrays = (*iteration.state, *handed)
        if lib is not self.lib:
            arrays = tuple(lib.asarray(s) if hasattr(s, "shape") else s for s in arrays)
        value, *bound, excess, size = (_number(v, lib) for v in function(*arrays))
        certificate = None
        if self.has_gap and tol >= RESOLUTION and excess <= 10 * self.lib.epsilon:
            dual, rounding = bound
            certificate = gap_certificate(value, dual, rounding, self.floor(tol))
        if certificate is None:
            found = self.residual(iteration.state, self.slope_of(iteration))
            near = self._error_bound(found.value, sqrt(max(size, 0.0)))
            relative = excess if found.relative <= excess else found.relative  # which may be NaN
            certificate = near or Certificate("residual", found.value, relative)
        elif self.constant:
            certificate = replace(certificate, lower_bound=dual - rounding + self.constant)
        if not self.compiled.has_value:
            return Measurement(certificate, None)
        return Measurement(certificate, inf if excess > max(tol, 1e3 * self.lib.epsilon) else value + self.constant)

    @cached_property
    def constant(self) -> float:
        """The energy's constant, which no tolerance is relative to."""
        return self.number(self.problem.energy.constant)

    def floor(self, tol: float) -> float:
        """The least size that a gap is relative to, for minima at zero.

        A gap of `UNRESOLVED` times the energy at zero is below every tolerance; at the working precision, a minimiser's
        rounding in a square is.
        """
        return max(max(UNRESOLVED / tol, self.lib.epsilon) * self.energy_size, self.compiled.precise.tiny)

    @cached_property
    def energy_size(self) -> float:
        """The sum of the sizes of the terms at zero, or at the start where there is none at zero."""
        for point in (self.problem.origin, self.problem.default_start):
            parts = [abs(term.trace(point)) for term in self.problem.terms if not term.functional.facts.indicator]
            size = self.number(sum_all(parts))
            if isfinite(size) and size > 0:
                return size
        return 0.0

    def slope_of(self, iteration: Iteration) -> float | Certificate | None:
        """The residual that an iteration measures as it goes, that of the worst sample; None where it does not."""
        if isinstance(iteration, Backtracking):
            worst = float(np.max(iteration.relative, initial=0.0))
            return Certificate("residual", iteration.residual, worst)
        return iteration.residual if self.lowering.iteration == "nesterov" else None

    def _error_bound(self, slope: float, size: float) -> Certificate | None:
        """``|x - x*| <= |grad E| / mu`` for a smooth strongly convex energy of moderate condition, else None.

        The residual of proximal gradient and conjugate gradients is the norm of the gradient, at a point that a step of
        at most ``2 / L`` brings no farther from the minimiser.
        """
        low, mu = self.lowering, self.strong_convexity
        exact_slope = low.iteration == "nesterov" and not low.backtrack
        if self.problem.rough_terms or not exact_slope or mu == 0.0 or self.problem.smoothness is None:
            return None
        if mu < 1e-6 * self.number(self.problem.smoothness.expression):
            return None
        return Certificate("error bound", slope / mu, slope / mu / max(size, self.compiled.precise.tiny))

    def residual(self, state: tuple[Any, ...], slope: float | Certificate | None = None) -> Certificate:
        """What vanishes at a solution, absolute and relative; ``slope`` where the iteration has measured it itself."""
        if isinstance(slope, Certificate):
            return slope
        plain = self.residual_function
        self._refresh(plain)
        moved, scale = (self._float(v) for v in plain(*state))
        size = slope if slope is not None else sqrt(moved) if moved >= 0 else moved
        if self.first_residual is None or not isfinite(self.first_residual):
            self.first_residual = size
        reference = sqrt(scale) if scale > 0 else self.first_residual  # without data, only the start has a size
        relative = inf if size == inf else size / max(reference, self.compiled.precise.tiny)  # not known at the start
        return Certificate("residual", size, relative)

    def term_values(self, x: Mapping[Variable, Any], tol: float) -> dict[Term, float | None]:
        """The value of each term at a point, in double precision; infinity where a constraint is missed.

        None for a term without an energy; networks compute in their own precision.

        Parameters
        ----------
        x : mapping from Variable to array
        tol : float
            By how much a constraint may be missed, relative, as for the energy's own value.
        """
        precise = self.lib if self.compiled.opaque else self.compiled.precise
        points = {v: Input(f"x{i}", v.shape, v.kind) for i, v in enumerate(self.problem.variables)}
        bindings = {points[v]: precise.asarray(x[v], v.kind) for v in points}
        terms = [t for t in self.problem.terms if t not in self.problem.without_value]
        start = self.problem.default_start
        wanted = [*(value_near(t, points) for t in terms), *(relative_violation(t, points, start) for t in terms)]
        found = [float(precise.item(v).real) for v in evaluate(wanted, {**self._arrays(precise), **bindings}, precise)]
        values, excesses = found[: len(terms)], found[len(terms) :]
        limit = max(tol, 1e3 * self.lib.epsilon)
        known = {t: inf if e > limit else v for t, v, e in zip(terms, values, excesses, strict=True)}
        return {t: known.get(t) for t in self.problem.terms}


def _number(value: Any, lib: Backend) -> float:
    return float(lib.item(value).real if hasattr(value, "dtype") else value.real)
