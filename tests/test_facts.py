"""Three-valued logic, and bounds that carry their certainty."""

from __future__ import annotations

import numpy as np
import pytest

from opalg.facts import NO, UNKNOWN, YES, Bound, Fact, exact, upper
from opalg.leaves import Constant, Parameter
from opalg.program import expression as ex

VALUES = {YES: {True}, NO: {False}, UNKNOWN: {True, False}}  # the truths that each fact leaves open


def fact_of(truths):
    return next(fact for fact, open_ in VALUES.items() if open_ == truths)


@pytest.mark.parametrize("p", list(Fact))
@pytest.mark.parametrize("q", list(Fact))
def test_tables_follow_from_what_is_left_open(p, q):
    assert (p & q) is fact_of({a and b for a in VALUES[p] for b in VALUES[q]})
    assert (p | q) is fact_of({a or b for a in VALUES[p] for b in VALUES[q]})


def test_bool():
    assert bool(YES) is True
    assert bool(NO) is False
    with pytest.raises(ValueError, match="is UNKNOWN"):
        bool(UNKNOWN)
    assert [repr(f) for f in (YES, NO, UNKNOWN)] == ["yes", "no", "unknown"]


def test_a_bound_is_a_number_of_its_leaves():
    lam = Parameter(3.0)
    bound = exact(ex.largest(Constant(np.array([1.0, 2.0]))) * lam)
    assert float(bound) == bound.value == 6.0
    assert bound.certified
    assert repr(upper(2.0)) == "2 (upper)"
    assert exact(2.0).value == 2.0


@pytest.mark.parametrize(
    ("one", "other", "attained", "certainty"),
    [
        ("exact", "exact", True, "exact"),
        ("exact", "exact", False, "upper"),
        ("exact", "upper", True, "upper"),
        ("upper", "asserted", True, "asserted"),
        ("estimate", "asserted", False, "estimate"),
        ("estimate", "exact", True, "estimate"),
    ],
)
def test_certainty_is_that_of_the_weaker(one, other, attained, certainty):
    a, b = Bound(ex.as_expression(2.0), one), Bound(ex.as_expression(5.0), other)
    for first, second in ((a, b), (b, a)):
        product, total = first.times(second, exact=attained), first.plus(second, exact=attained)
        assert (product.value, total.value) == (10.0, 7.0)
        assert product.certainty == total.certainty == certainty


def test_certified_and_scaled():
    assert [Bound(ex.as_expression(1.0), c).certified for c in ("exact", "upper", "asserted", "estimate")] == [
        True,
        True,
        False,
        False,
    ]
    scaled = upper(2.0).scaled(Parameter(4.0))
    assert (scaled.value, scaled.certainty) == (8.0, "upper")
