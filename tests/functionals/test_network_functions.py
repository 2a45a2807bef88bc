"""What is declared about networks: shown, never invented, and checked for sense."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import opalg as oa
from opalg.facts import NO, UNKNOWN, YES
from opalg.functionals.gradient_step import GradientStep
from opalg.functionals.network_functions import Declared, NetworkFunctional
from opalg.functionals.plug_and_play import PlugAndPlay
from opalg.functionals.red import Red
from opalg.functionals.scalar_network import ScalarNetwork


def smoother(v: Any) -> Any:
    return 0.5 * v


CLASSES: list[type[Any]] = [Red, PlugAndPlay, GradientStep, ScalarNetwork]


@pytest.mark.parametrize("cls", CLASSES)
def test_nothing_is_assumed(cls: type[Any]) -> None:
    bare: NetworkFunctional = cls(smoother)
    declared, facts = bare.declared, bare.facts
    assert declared.convex is declared.symmetric is declared.nonexpansive is UNKNOWN
    assert declared.averaged is declared.lipschitz is None
    assert facts.convex is UNKNOWN and facts.smoothness is None and facts.strong_convexity is None
    assert repr(bare) == f"{cls.__name__}(smoother)"
    assert bare.text("x").endswith("(smoother, x)")


def test_what_is_declared_is_shown() -> None:
    assert Red(smoother, symmetric=True, lipschitz=0.5).text("x") == "red(smoother, x, symmetric=True, lipschitz=0.5)"
    assert repr(PlugAndPlay(smoother, averaged=0.5)) == "PlugAndPlay(smoother, averaged=0.5)"
    assert PlugAndPlay(smoother, strength=True).text("x") == "plug_and_play(smoother, x, strength=True)"
    assert GradientStep(smoother, lipschitz=2.0).text("x") == "gradient_step(smoother, x, lipschitz=2)"
    assert repr(ScalarNetwork(smoother, convex=True)) == "ScalarNetwork(smoother, convex=True)"
    assert repr(ScalarNetwork(smoother, convex=False)) == "ScalarNetwork(smoother, convex=False)"
    text = str(Red(smoother, symmetric=True, averaged=0.4).declared)
    assert text == (
        "no energy is known, smooth, symmetric, nonexpansive, 0.4-averaged (firmly nonexpansive), "
        "Lipschitz constant 0.8 (asserted)"
    )
    assert str(Declared(convex=NO, energy=YES)) == "an energy, not convex"


def test_a_bound_keeps_its_doubt_but_not_its_proof() -> None:
    weak = oa.Bound(oa.Parameter(2.0, name="L"), "estimate")
    found = GradientStep(smoother, lipschitz=weak).facts.smoothness
    assert found is not None and found.certainty == "estimate" and float(found) == 2.0
    proved = ScalarNetwork(smoother, lipschitz=oa.Bound(oa.exp(oa.Constant(0.0)), "exact")).facts.smoothness
    assert proved is not None and proved.certainty == "asserted" and float(proved) == 1.0
    held = Red(smoother, lipschitz=oa.Parameter(2.0, name="L", nonneg=True))
    assert "lipschitz=L" in held.text("x")


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: Red(smoother, lipschitz=-1.0), oa.ParameterError, "nonnegative"),
        (lambda: Red(smoother, lipschitz=float("inf")), oa.ParameterError, "nonnegative"),
        (lambda: GradientStep(smoother, lipschitz=np.ones(3)), oa.ShapeError, "one number"),
        (lambda: ScalarNetwork(smoother, lipschitz=1j), oa.DtypeError, "real"),
        (lambda: Red(smoother, symmetric=3), oa.ParameterError, "symmetric"),
        (lambda: ScalarNetwork(smoother, convex="yes"), oa.ParameterError, "convex"),
        (lambda: PlugAndPlay(smoother, averaged=1.5), oa.ParameterError, "averaged"),
        (lambda: PlugAndPlay(3.0), oa.ParameterError, "callable"),
        (lambda: Red(None), oa.ParameterError, "callable"),
        (lambda: Red(smoother)(np.ones(3)), oa.NotAffineError, "Variable"),
    ],
)
def test_what_makes_no_sense_is_refused(make: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize("cls", CLASSES)
def test_equal_declarations_make_one_node(cls: type[Any]) -> None:
    assert cls(smoother) is cls(smoother)
    assert cls(smoother) is not cls(lambda v: v)
    assert "smoother" in cls(smoother).latex("x")


def test_pickles_where_the_callable_does() -> None:
    import pickle

    f = Red(smoother, symmetric=True, homogeneous=True, lipschitz=0.5)
    assert pickle.loads(pickle.dumps(f)) is f
