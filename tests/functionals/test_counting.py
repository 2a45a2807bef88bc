from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.errors import DtypeError, ShapeError, UnsupportedError
from opalg.facts import NO, UNKNOWN
from opalg.functionals.counting import Norm0, NormHalf, norm0, norm_half
from opalg.functionals.exactness import Exactness
from tests.functionals.scalar_oracle import Scalar, check_data_gradient, check_extremes, check_prox, check_steps


@pytest.mark.parametrize("weight", [0.05, 0.7, 6.0])
def test_norm0_is_the_hard_threshold(weight: float) -> None:
    scalar = Scalar(lambda u: weight * (u != 0), lambda u: 0.0 * u, (0.0,))
    check_prox(Norm0(weight), scalar, even=True)


@pytest.mark.parametrize("weight", [0.05, 0.7, 6.0])
def test_norm_half_is_the_global_minimiser(weight: float) -> None:
    def slope(u: np.ndarray) -> np.ndarray:
        return weight * np.sign(u) / (2 * np.sqrt(np.abs(u)))

    check_prox(NormHalf(weight), Scalar(lambda u: weight * np.sqrt(np.abs(u)), slope, (0.0,)), even=True)


def test_norm_half_jumps_at_its_threshold() -> None:
    f, threshold = NormHalf(2.0), 1.5 * (0.9 * 2.0) ** (2 / 3)
    found = f.prox(threshold * np.array([1 - 1e-9, 1 + 1e-9]), 0.9)
    assert np.allclose(found, [0.0, 2 / 3 * threshold], rtol=1e-7)


@pytest.mark.parametrize("family", [Norm0, NormHalf])
def test_zero_weights_leave_entries_as_they_are(family: type) -> None:
    v = np.array([1e-30, -2.0, 0.0, 0.3])
    f = family(np.array([0.0, 0.0, 0.0, 5.0]))
    assert np.allclose(f.prox(v, 0.5), [1e-30, -2.0, 0.0, 0.0], rtol=1e-14, atol=0)
    assert f.facts.convex is UNKNOWN and f.value(v[:3].repeat(4)[:4]) >= 0


@pytest.mark.parametrize("family", [Norm0, NormHalf])
def test_steps_and_extremes(family: type) -> None:
    f = family(0.5)
    check_steps(f)
    check_steps(f, "complex")
    check_extremes(f)
    v = np.array([0.3, -1e-30, 0.0])
    assert np.allclose(f.prox(v, 0.0), v, rtol=1e-15, atol=0)


def test_gradients_in_the_weights() -> None:
    v = np.array([0.0, 0.2, -1.9, 4.0])
    check_data_gradient(NormHalf, 0.6, v)
    check_data_gradient(lambda w: NormHalf(w * np.ones(1)[0]), 0.6, v)


def test_values() -> None:
    assert Norm0(np.array([1.0, 2.0, 4.0])).value(np.array([0.0, 1e-300, 3.0])) == 6.0
    assert Norm0(3.0).value(np.array([[0.0, 2.0j], [1.0, 0.0]])) == 6.0
    assert NormHalf().value(np.array([3.0 + 4.0j])) == pytest.approx(np.sqrt(5.0))
    assert Norm0().value(np.array([1e20, 1e-30], dtype=np.float32)) == 2.0


@pytest.mark.parametrize(("family", "make"), [(Norm0, norm0), (NormHalf, norm_half)])
def test_facts_text_and_messages(family: type, make: object) -> None:
    f = family()
    assert f.facts.convex is NO and f.exactness is Exactness.CLOSED_FORM
    with pytest.raises(UnsupportedError, match="norm1"):
        f.gradient(np.ones(2))
    with pytest.raises(UnsupportedError, match="nonnegative"):
        family(-1.0).prox(np.ones(2), 1.0)
    with pytest.raises(DtypeError, match="weights"):
        family(1j)
    x = oa.Variable((2,), name="x")
    assert make(x).functional is f and f.text("x") == f"{make.__name__}(x)"  # type: ignore[operator, attr-defined]
    with pytest.raises(ShapeError, match="weights"):
        make(x, np.ones(3))  # type: ignore[operator]
    assert family(0.5).text("x") == f"{make.__name__}(x, weights=0.5)"  # type: ignore[attr-defined]
    assert NormHalf().latex("x") == r"\left\|x\right\|_{1/2}^{1/2}" and Norm0().latex("x") == r"\left\|x\right\|_{0}"


@pytest.mark.parametrize("f", [Norm0(), Norm0(2.0), NormHalf()], ids=repr)
def test_nan_is_neither_counted_as_zero_nor_set_to_zero(f: Norm0 | NormHalf) -> None:
    v = np.array([0.0, np.nan, 3.0])
    assert np.isnan(f.value(v)) and np.array_equal(np.isnan(f.prox(v, 0.7)), [False, True, False])


def test_conjugates_say_why_something_is_missing() -> None:
    v = np.ones(3)
    with pytest.raises(UnsupportedError, match=r"no prox: Norm0\(\) is not known to be convex"):
        Norm0().conjugate.prox(v)
    with pytest.raises(UnsupportedError, match=r"no gradient: Norm1\(\) is not known to be strongly convex"):
        oa.functionals.Norm1().conjugate.gradient(v)
    with pytest.raises(UnsupportedError, match=r"rank_ball\(1\)\) has no conjugate value: it is not convex"):
        oa.functionals.Indicator(oa.rank_ball(1)).conjugate.value(np.ones((2, 2)))
