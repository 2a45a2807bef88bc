"""The compiler on one page: from an energy to a plan.

energy -> canonical energy -> problem (facts) -> method -> lowering (T, R) -> compiled functions -> Plan
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from opalg.compiler.binding import Binding
from opalg.compiler.canonical import canonical_parts
from opalg.compiler.choose import at_values, choose, with_options
from opalg.compiler.compiled import CompiledEnergy
from opalg.compiler.placement import placement
from opalg.compiler.plan import Plan
from opalg.energies.affine import Constraint
from opalg.energies.energy import EnergyExpression
from opalg.energies.functions import indicator
from opalg.errors import ParameterError, UnsupportedError
from opalg.methods.problem import Problem
from opalg.solving.solution import Solution


def compile(  # the name that users type as opalg.compile
    energy: EnergyExpression,
    *,
    method: str = "auto",
    backend: str | None = None,
    device: Any = None,
    dtype: Any = None,
    nonconvex: bool = False,
    fuse: bool = False,
    **options: Any,
) -> Plan:
    """Turn an energy into a solver.

    Parameters
    ----------
    energy : Energy
        What to minimise.
    method : str
        ``"auto"``, or one of the names that ``plan.explain()`` lists.
    backend : {"numpy", "torch", "cupy"}, optional
        Where to run; by default where the data live.
    device : optional
        The library's device, such as ``"cuda"``.
    dtype : optional
        ``float32`` or ``float64``; by default the data's.
    nonconvex : bool
        Accept an energy that is not known to be convex, and a stationary point for an answer.
    fuse : bool
        Let ``torch.compile`` make one kernel of each pointwise part of the step: for long solves of large arrays, since
        it takes seconds when the step is first called. On NumPy pointwise parts run block by block in the cache anyway.
    **options
        Options of single methods, all of proximal_gradient: ``line_search="gradient"`` or ``"value"`` searches a step
        that decreases the energy, without momentum; ``sample_axes=1`` gives each sample of the leading axes a step of
        its own and lets it rest once it has converged; ``prox=data`` names terms of the energy that are taken by their
        prox although they are smooth.

    Returns
    -------
    Plan

    Raises
    ------
    ConvexityError
        Where the energy is not known to be convex and ``nonconvex`` is False.
    UnsupportedError
        Where no method fits, with the reasons of each; where ``fuse`` is asked of a library without a compiler.
    ParameterError
        For an option of another method.
    TypeError
        For an unknown keyword.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> x, A = oa.Variable((2, 4), name="x"), oa.Mask(np.array([True, True, False, False]))
    >>> data = 50 * oa.sum_squares(A @ x - np.array([[1.0, 2.0, 0.0, 0.0], [3.0, 4.0, 0.0, 0.0]]))
    >>> E = data + oa.log_cosh(x, 0.1)
    >>> plan = oa.compile(E, prox=data, line_search="gradient", sample_axes=1)
    >>> plan.solve(tol=1e-9).x.round(3)
    array([[0.99, 1.99, 0.  , 0.  ],
           [2.99, 3.99, 0.  , 0.  ]])
    """
    special = with_options(method, options)
    method = method if special is None else special.name
    form, rewrites, apart = canonical_parts(energy, options.get("prox", ()))
    problem = Problem(form, energy.variables)
    parted = replace(problem, apart=tuple(t for t in apart if t in problem.smooth_terms))
    candidates = choose(parted, method, nonconvex, special)
    lib = placement(energy, backend, device, dtype)
    refused: list[str] = []
    for candidate in [c for c in candidates if c.fit.fits and method in ("auto", c.method.name)]:
        compiled = CompiledEnergy(parted, candidate.method.lower(parted), lib, nonconvex, fuse)
        try:
            first = Binding(compiled, {})
        except UnsupportedError as refusal:  # it fits by structure, but not at the values: the next one may
            refused.append(f"{candidate.method.name}: {refusal}")
            continue
        judged = tuple(at_values(candidates, refused))
        return Plan(
            energy, problem, tuple(rewrites), judged, candidate.method, compiled.lowering, lib, compiled, [first]
        )
    reasons = "\n".join(f"  {reason}" for reason in refused)
    raise UnsupportedError(f"no method fits the energy {energy!r} at the values of its data:\n{reasons}")


SOLVE_OPTIONS = ("x0", "params", "tol", "max_iter", "time_limit", "callback", "progress", "on_failure", "step")


def minimize(
    energy: EnergyExpression, *, subject_to: Constraint | Sequence[Constraint] = (), **options: Any
) -> Solution:
    """Compile an energy and solve it.

    Parameters
    ----------
    energy : Energy
        What to minimise.
    subject_to : constraint or sequence of constraints
        ``[x >= 0, A @ x == b]``; each becomes an indicator.
    **options
        Those of `compile` and of ``Plan.solve``.

    Returns
    -------
    Solution
    """
    for constraint in [subject_to] if not isinstance(subject_to, (list, tuple)) else subject_to:
        if not isinstance(constraint, Constraint):
            raise ParameterError(
                f"subject_to takes constraints such as x >= 0 or A @ x == b, not {constraint!r}; a set becomes a term, "
                f"which is added to the energy: E + oa.indicator(set, x)"
            )
        energy = energy + indicator(constraint)
    for_solve = {k: options.pop(k) for k in SOLVE_OPTIONS if k in options}
    return compile(energy, **options).solve(**for_solve)
