"""Real and complex arrays within one expression: adjoints take real parts where they must, facts and rules know it."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.operators import Imag, Real
from opalg.testing import check_operator

SHAPE = (4, 3)
BACK, REAL, IMAG, FORTH = oa.InverseRFFT(SHAPE), Real(SHAPE), Imag(SHAPE), oa.FFT(SHAPE)
TURN = oa.Diagonal(np.arange(12.0).reshape(SHAPE) + 1j)

MADE = {
    "a complex multiple of what is real": 1j * BACK,
    "and of a real part": 1j * REAL,
    "and of an imaginary part, which is self-adjoint": 1j * IMAG,
    "and of a function": 1j
    * oa.FunctionOperator(np.real, lambda y: y + 0j, in_shape=3, in_dtype=complex, out_dtype="real"),
    "a complex diagonal after a real result": TURN @ BACK,
    "a transform after a real part": FORTH @ REAL,
    "the same the other way round": oa.RFFT(SHAPE).H @ (oa.RFFT(SHAPE) @ REAL),
    "a sum of both": BACK + TURN @ BACK,
    "a sum with a real part": REAL + FORTH,
    "a stack of both": oa.vstack([BACK, 1j * BACK]),
    "a stack with a real part": oa.vstack([REAL, FORTH]),
}


@pytest.mark.parametrize("form", ["itself", "adjoint", "gram", "cogram", "sum"])
@pytest.mark.parametrize("operator", MADE.values(), ids=MADE)
def test_every_form_passes_before_and_after_rewriting(operator, form):
    made = {
        "itself": lambda: operator,
        "adjoint": lambda: operator.H,
        "gram": lambda: operator.gram,
        "cogram": lambda: operator.H.gram,
        "sum": lambda: operator.gram + 0.5 * operator.gram,
    }[form]()
    for one in (made, made.simplify()):
        report = check_operator(one)
        assert report, str(report)


def test_what_sees_real_arrays_only_is_not_onto():
    assert FORTH.facts.cogram_scale is not None
    assert (FORTH @ REAL).facts.cogram_scale is None
    assert (1j * REAL).facts.cogram_scale is None
    assert (FORTH @ REAL).gram.facts.positive is oa.YES
