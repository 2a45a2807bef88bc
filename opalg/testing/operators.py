"""Check a linear operator: adjoint, linearity, declared facts, norm bound, batches, precision, manners."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from opalg.arrays import backend
from opalg.errors import ParameterError
from opalg.testing import claims, manners, promises
from opalg.testing.adapters import Adapted, adapted
from opalg.testing.report import Findings, Report
from opalg.testing.subject import KINDS, Subject, SubjectError, subject_of, takes_complex
from opalg.testing.trial import Trial


def check_operator(
    operator: Any,
    rng: np.random.Generator | None = None,
    *,
    kinds: Collection[str] | None = None,
    library: str | None = None,
    dtype: str | None = None,
    device: Any = None,
    tolerance: float | None = None,
    batched: bool | None = None,
    skip: Collection[str] = (),
    in_shape: Any = None,
    out_shape: Any = None,
) -> Report:
    """Try everything that a linear operator promises.

    Parameters
    ----------
    operator : object
        An operator of opalg; a linear operator of SciPy, PyLops, Torch (a module), DeepInverse, SigPy, SCICO or ODL, or
        a matrix; or any object with ``in_shape`` and ``out_shape``, ``apply`` or ``@``, and ``H`` or ``adjoint``.
    rng : numpy.random.Generator, optional
        Where random arrays come from; the same ones each time by default.
    kinds : collection of {"real", "complex"}, optional
        The arrays to try; by default those that the operator says it takes, or both.
    library : str, optional
        The array library: ``"numpy"``, ``"torch"``, ``"cupy"``, ``"array_api_strict"``; by default the one that the
        operator was made for, or NumPy.
    dtype : str, optional
        The precision of the comparison, ``"float64"`` or ``"float32"``; by default that of the operator where it has
        one, or double.
    device : optional
        Where the arrays live, such as ``"cuda"``; by default where the library puts them.
    tolerance : float, optional
        Relative; by default 200 times the spacing of 1.0.
    batched : bool, optional
        Whether leading axes should count as a batch; by default for operators of opalg.
    skip : collection of str
        Properties to leave out, of `PROPERTIES`.
    in_shape, out_shape : tuple of int, optional
        The shapes without batch axes, for objects of other libraries that do not say them, such as Torch modules.

    Returns
    -------
    Report
        True where everything holds. Each finding names the property, the worst pair of indices and the likely mistake.

    Raises
    ------
    ParameterError
        Where the object has no shapes, cannot be applied or has no adjoint at all, and for unknown names in ``skip``.

    Notes
    -----
    A random test of the adjoint alone is weak: an adjoint wrong at the border only changes ``<x, A.H y>`` by about 1/n
    of it at n x n. So small operators are compared entry by entry as matrices, and large ones by all pairs of random
    arrays, constants, checkerboards, arrays that live on the border, and impulses at corners, edges and the middle.
    Complex numbers count as pairs of reals, so that maps from real to complex arrays are tested like any other.
    Exceptions that an operator raises are findings. What another library does not promise, such as results in memory of
    their own, is noted and not tried.

    Examples
    --------
    >>> import opalg as oa
    >>> oa.testing.check_operator(oa.Gradient((6, 5))).ok
    True
    >>> import numpy as np
    >>> A = oa.FunctionOperator(np.cumsum, np.cumsum, in_shape=5, in_dtype="real", name="cumsum")
    >>> report = oa.testing.check_operator(A)
    >>> report.failed("adjoint"), report.findings[0].hint
    (True, 'A.H repeats the forward map, but A is not self-adjoint; for a convolution, flip the kernel')
    """
    unknown = [name for name in skip if name not in PROPERTIES]
    if unknown:
        raise ParameterError(f"{unknown[0]!r} is not a property that is checked; they are {', '.join(PROPERTIES)}")
    given = adapted(operator, in_shape, out_shape)
    foreign = given if isinstance(given, Adapted) else None
    wanted = library or (foreign.library if foreign else "numpy")
    lib = backend(wanted, dtype or (foreign.precision if foreign else "float64"), device)
    subject = subject_of(given, lib)
    unpromised = foreign.unpromised if foreign else {}
    findings = Findings(subject.label, (*skip, *unpromised))
    for name, habit in unpromised.items():
        if name not in skip:
            findings.note(f"{name} was not tried: {habit}")
    rng = np.random.default_rng(0) if rng is None else rng
    limit = 200 * lib.epsilon if tolerance is None else tolerance
    for kind in _kinds_to_try(subject, kinds, findings):
        trial = Trial(subject, kind, findings, rng, limit, subject.is_ours if batched is None else batched)
        for name, try_it in PROPERTIES.items():
            if findings.trying(name) and not _tried(trial, name, try_it) and name == "runs":
                break
    return findings.report()


def _kinds_to_try(subject: Subject, kinds: Collection[str] | None, findings: Findings) -> tuple[str, ...]:
    if kinds is not None:
        wrong = [k for k in kinds if k not in KINDS]
        if wrong:
            raise ParameterError(f"kinds are {KINDS}, not {wrong[0]!r}")
        return tuple(kinds)
    if subject.declared or takes_complex(subject):
        return subject.kinds
    findings.note("it does not say whether it takes complex arrays, and refuses them: tried on real ones")
    return ("real",)


def _tried(trial: Trial, name: str, try_it: Callable[[Trial], None]) -> bool:
    """Try one property; whether it ran and holds. What the operator raises is a finding."""
    try:
        try_it(trial)
    except SubjectError as problem:
        trial.findings.fail(name, f"{problem} for {trial.kind} arrays")
    return not trial.findings.failed(name)


PROPERTIES: dict[str, Callable[[Trial], None]] = {
    "runs": promises.runs,
    "linear": promises.linear,
    "adjoint": promises.adjoint,
    "involution": promises.involution,
    "gram": promises.gram_operator,
    "facts": claims.facts,
    "norm": claims.norm,
    "batch": manners.batch,
    "layout": manners.layout,
    "inputs": manners.inputs,
    "fresh": manners.fresh,
    "repeatable": manners.repeatable,
    "dtype": manners.dtype,
    "refusal": manners.refusal,
}
