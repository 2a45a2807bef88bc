"""Check a rewrite rule: what it makes of an operator is the same operator, and what is known of it is true."""

from __future__ import annotations

from collections.abc import Callable, Collection
from math import prod
from typing import Any

import numpy as np

from opalg.arrays import backend
from opalg.errors import ParameterError, RewriteCycleError
from opalg.operators.algebra import LinearOperator
from opalg.rules import RULES, Rule, rewrite
from opalg.testing import claims
from opalg.testing.report import Findings, Report
from opalg.testing.subject import KINDS, place_of, subject_of
from opalg.testing.trial import DENSE_LIMIT, Trial

PROPERTIES = ("fires", "shapes", "kinds", "map", "adjoint", "facts", "norm", "settles")


def check_rule(
    rule: Rule | Callable[[Any], Any] | str,
    node: LinearOperator,
    rng: np.random.Generator | None = None,
    *,
    kinds: Collection[str] | None = None,
    tolerance: float | None = None,
    skip: Collection[str] = (),
) -> Report:
    """Apply a rewrite rule to an operator and compare what it made with the original, as dense real-linear matrices.

    Parameters
    ----------
    rule : Rule, callable or str
        The rule, its function, or the name under which it is registered.
    node : LinearOperator
        A small operator on which the rule fires; the rule is tried on the node itself, not on its parts.
    rng : numpy.random.Generator, optional
        Where random arrays come from; the same ones each time by default.
    kinds : collection of {"real", "complex"}, optional
        The arrays to compare on; by default those that the operator takes.
    tolerance : float, optional
        Relative; by default 200 times the spacing of 1.0.
    skip : collection of str
        Properties to leave out: ``"fires"``, ``"shapes"``, ``"kinds"``, ``"map"``, ``"adjoint"``, ``"facts"``,
        ``"norm"``, ``"settles"``.

    Returns
    -------
    Report
        True where everything holds: the rule fires, shapes and kinds stay, both sides are the same matrix and so are
        their adjoints, the facts and the norm bound of the result are true, and rewriting goes on to an end.

    Raises
    ------
    ParameterError
        Where there is no such rule, the node is no operator or too large to be written as a matrix, and for unknown
        names in ``kinds`` and ``skip``.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> from opalg.operators import Composed
    >>> from opalg.testing.rules import check_rule
    >>> from opalg.testing.rules import check_rule
    >>> A, D = oa.Matrix(np.ones((2, 3))), oa.Diagonal(np.array([1.0, 2.0]))
    >>> check_rule("merge_diagonals_in_product", Composed(D, D)).ok
    True
    >>> print(check_rule(lambda node: 2.0 * A, A).findings[0].message)
    for real arguments the matrix changes, most at output (0,), input (0,): 1 becomes 2
    """
    for names, known in ((skip, PROPERTIES), (kinds or (), KINDS)):
        wrong = [name for name in names if name not in known]
        if wrong:
            raise ParameterError(f"{wrong[0]!r} is not one of {', '.join(known)}")
    found, limit = _rule_of(rule, node), 200 * float(np.finfo(float).eps) if tolerance is None else tolerance
    findings = Findings(f"{found.name} on {node!r}", tuple(skip))
    after = found.function(node) if isinstance(node, found.on) else None
    if findings.trying("fires") and (after is None or after is node):
        findings.fail("fires", f"the rule {found.name} leaves {node!r} as it is")
    if after is None or after is node or not _same_spaces(node, after, findings):
        return findings.report()
    generator = np.random.default_rng(0) if rng is None else rng
    for kind in (KINDS if node.in_kind == "any" else (node.in_kind,)) if kinds is None else kinds:
        _compare(*(_trial(o, kind, findings, generator, limit) for o in (node, after)))
    if findings.trying("settles"):
        try:
            rewrite(after)
        except RewriteCycleError as problem:
            findings.fail("settles", str(problem))
    return findings.report()


def _rule_of(rule: Rule | Callable[[Any], Any] | str, node: Any) -> Rule:
    if not isinstance(node, LinearOperator):
        raise ParameterError(f"check_rule compares operators, but was given {type(node).__name__}")
    if prod(node.in_shape) * prod(node.out_shape) > DENSE_LIMIT:
        raise ParameterError(f"{node!r} is too large to be compared as a matrix; build it on smaller shapes")
    if isinstance(rule, Rule):
        return rule
    for known in RULES:
        if rule in (known.function, known.name):
            return known
    if not callable(rule):
        raise ParameterError(f"no rule is named {rule!r}; opalg.rules.RULES lists them all")
    return Rule(rule, LinearOperator, "simplify")


def _same_spaces(before: LinearOperator, after: Any, findings: Findings) -> bool:
    """Whether shapes stay, and every kind that was taken is still taken and gives no other kind than before."""
    if not isinstance(after, LinearOperator):
        findings.fail("shapes", f"the rule makes no operator but {type(after).__name__}")
        return False
    if findings.trying("shapes") and (before.in_shape, before.out_shape) != (after.in_shape, after.out_shape):
        findings.fail(
            "shapes",
            f"the rule turns a map from {before.in_shape} to {before.out_shape} into one from {after.in_shape} to "
            f"{after.out_shape}",
        )
        return False
    if findings.trying("kinds"):
        if after.in_kind not in ("any", before.in_kind):
            findings.fail("kinds", f"before the rule it takes {before.in_kind} arrays, after it {after.in_kind} ones")
        for kind in KINDS if before.in_kind == "any" else (before.in_kind,):
            if before.out_kind(kind) == "real" and after.out_kind(kind) == "complex":
                findings.fail("kinds", f"the rule makes results complex that were real, for {kind} arguments")
    return not findings.failed("kinds")


def _trial(
    operator: LinearOperator, kind: str, findings: Findings, rng: np.random.Generator, tolerance: float
) -> Trial:
    return Trial(subject_of(operator, backend("numpy", "float64")), kind, findings, rng, tolerance, True)


def _compare(before: Trial, after: Trial) -> None:
    """The matrices of both, of their adjoints, and what the new one claims."""
    findings, ends = before.findings, before.subject.forward
    old, new = (_with_imaginary_rows(t.matrices[0], prod(ends.target)) for t in (before, after))
    back = after.matrices[1]
    padded = np.zeros((old.shape[1], old.shape[0]))
    padded[: back.shape[0], : back.shape[1]] = back
    scale = float(max(np.abs(old).max(initial=0.0), np.abs(new).max(initial=0.0)))
    for name, matrix, wanted in (("map", new, old), ("adjoint", padded.T, old)):
        if not findings.trying(name) or not matrix.size:
            continue
        difference = np.abs(matrix - wanted)
        i, j = np.unravel_index(int(np.argmax(difference)), difference.shape)
        where = (place_of(int(i), ends.target), place_of(int(j), ends.source))
        words = "the matrix changes" if name == "map" else "the adjoint is not that of before"
        message = (
            f"for {before.kind} arguments {words}, most at output {where[0]}, input {where[1]}: "
            f"{wanted[i, j]:.6g} becomes {matrix[i, j]:.6g}"
        )
        error = float(difference[i, j]) / scale if scale > 0 else 0.0
        findings.measure(name, error, before.tolerance, message, where)
    for name, claim in (("facts", claims.facts), ("norm", claims.norm)):
        if findings.trying(name):
            claim(after)


def _with_imaginary_rows(matrix: np.ndarray, height: int) -> np.ndarray:
    """The matrix of a map to complex arrays, with zeros for the imaginary parts where results are real."""
    out = np.zeros((2 * height, matrix.shape[1]))
    out[: len(matrix)] = matrix
    return out
