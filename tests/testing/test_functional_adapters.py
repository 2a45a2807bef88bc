"""Functionals of other libraries through stand-ins: classes that say where they come from, with the same methods.

The libraries themselves are tried in `test_peers`.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

import opalg as oa
from opalg.errors import ParameterError
from opalg.testing import check, check_functional, collected
from opalg.testing.adapters import AdaptedFunctional, adapted, adapted_functional
from opalg.testing.adapters.choose import is_foreign_functional, is_foreign_operator
from tests.testing.own_functionals import shrink


def claimed_by(module):
    """Makes a class say that a library defines it."""

    def claim(cls):
        cls.__module__ = module
        return cls

    return claim


def flat(x):
    assert x.ndim == 1
    return x


# PyProximal: flat arrays, prox and proxdual, f(x) or whether x is in a set.


@claimed_by("pyproximal.ProxOperator")
class ProxOperator:
    hasgrad = False

    def prox(self, x, tau):
        assert tau > 0
        return x - tau * self.proxdual(x / tau, 1 / tau)

    def proxdual(self, x, tau):
        return x - tau * self.prox(x / tau, 1 / tau)

    def grad(self, x):
        raise AssertionError("that of the envelope is not looked at")


@claimed_by("pyproximal.proximal.L1")
class L1(ProxOperator):
    def __init__(self, sigma=1.0, dual=1.0, factor=1.0):
        self.sigma, self.dual, self.factor = sigma, dual, factor

    def __call__(self, x):
        return float(self.sigma * np.sum(np.abs(flat(x))))

    def prox(self, x, tau):
        assert tau > 0
        return shrink(flat(x), self.factor * tau * self.sigma)

    def proxdual(self, x, tau):
        radius = self.dual * self.sigma
        return x * radius / np.maximum(np.abs(x), radius)


@claimed_by("pyproximal.proximal.L2")
class L2(ProxOperator):
    hasgrad = True

    def __call__(self, x):
        return float(np.sum(np.abs(x) ** 2) / 2)

    def prox(self, x, tau):
        return x / (1 + tau)

    def grad(self, x):
        return 1.0 * x


@claimed_by("pyproximal.proximal.Box")
class Box(ProxOperator):
    """Says whether a point is inside, without any tolerance."""

    dims = (2, 3)

    def __call__(self, x):
        return bool(np.linalg.norm(x) <= 1.0)

    def prox(self, x, tau):
        return x / max(1.0, np.linalg.norm(x))


def test_pyproximal():
    report = check(L1(0.7))
    assert report and "pyproximal L1" in report.subject, str(report)
    assert {"moreau", "brute_force", "extremes"} <= set(report.checked)
    assert any("steps was not tried" in note for note in report.notes)
    report = check(L2())
    assert report and "gradient" in report.checked
    box = adapted_functional(Box())
    assert box.example_shape == (2, 3) and box.value(np.array([[3.0, 0, 0], [0, 4.0, 0]])) == np.inf
    assert check(Box(), shape=(2, 3))
    assert "0.5 t" in str(check_functional(L1(0.7, factor=0.5)))
    assert "0.5 times" in str(check_functional(L1(0.7, dual=0.5), skip=["prox"]))


# PyUNLocBoX: eval, prox and grad, projections of value zero.


@claimed_by("pyunlocbox.functions")
class func:
    def eval(self, x):
        return self._eval(np.asarray(x))

    def prox(self, x, T):
        return self._prox(np.asarray(x), T)

    def grad(self, x):
        return self._grad(np.asarray(x))

    def cap(self, x):
        return []

    def _eval(self, x):
        raise NotImplementedError

    def _prox(self, x, T):
        raise NotImplementedError

    def _grad(self, x):
        raise NotImplementedError


@claimed_by("pyunlocbox.functions")
class norm_l2(func):
    def _eval(self, x):
        return np.sum(x**2)

    def _prox(self, x, T):
        return x / (1 + 2 * T)

    def _grad(self, x):
        return 2 * x


@claimed_by("pyunlocbox.functions")
class proj(func):
    def _eval(self, x):
        return 0


@claimed_by("pyunlocbox.functions")
class proj_positive(proj):
    def _prox(self, x, T):
        return np.clip(x, 0, np.inf)


@claimed_by("pyunlocbox.functions")
class proj_wrong(proj):
    """Goes on moving what it has projected."""

    def _prox(self, x, T):
        return 0.9 * np.clip(x, 0, np.inf)


def test_pyunlocbox():
    report = check(norm_l2())
    assert report and {"gradient", "prox"} <= set(report.checked), str(report)
    assert check(proj_positive())
    assert adapted_functional(proj_positive()).value(np.array([-1.0])) == np.inf
    assert not check(proj_wrong())
    own = func()
    own._eval = lambda x: float(np.sum(x**4))
    own._grad = lambda x: 2 * x**3
    assert "0.5 times" in str(check(own))
    assert adapted_functional(own).prox is None
    with pytest.raises(ParameterError, match="no value"):
        check_functional(func())


# SCICO: has_eval, has_prox; arrays of JAX, whose stand-ins are NumPy's.


@claimed_by("scico.functional._functional")
class Functional:
    has_eval, has_prox = True, True

    def __call__(self, x):
        return np.sum(np.abs(x))

    def prox(self, v, lam=1.0):
        return shrink(v, lam)

    def conj_prox(self, v, lam=1.0):
        return v - lam * self.prox(v / lam, 1 / lam)


@claimed_by("scico.functional._norm")
class L1Norm(Functional):
    pass


@claimed_by("scico.functional._norm")
class L0Norm(Functional):
    """Thresholds at t instead of at the root of 2 t."""

    def __call__(self, x):
        return np.count_nonzero(x)

    def prox(self, v, lam=1.0):
        return np.where(np.abs(v) >= lam, v, 0)


@claimed_by("scico.functional._norm")
class WithDual(Functional):
    def conj_prox(self, v, lam=1.0):
        return v / np.maximum(1, np.abs(v) / 2)


@claimed_by("scico.functional._indicator")
class L2BallIndicator(Functional):
    """0 / 0 at zero."""

    def __call__(self, x):
        return 0.0 if np.linalg.norm(x) <= 1 + 1e-9 else np.inf

    def prox(self, v, lam=1.0):
        size = np.linalg.norm(v)
        return v / size * np.minimum(size, 1)


@pytest.fixture
def scico(monkeypatch):
    snp = SimpleNamespace(array=np.array)
    monkeypatch.setitem(sys.modules, "scico", SimpleNamespace(numpy=snp))
    monkeypatch.setitem(sys.modules, "scico.numpy", snp)
    return snp


@pytest.mark.usefixtures("scico")
def test_scico():
    report = check(L1Norm())
    assert report and "moreau" not in report.checked, str(report)
    assert "t^2 / 2" in str(check(L0Norm()))
    assert check(WithDual()).failed("moreau")
    assert "0 / 0" in str(check(L2BallIndicator()))


def test_scico_in_single_precision(scico):
    scico.array = lambda x: np.asarray(x, np.complex64 if np.iscomplexobj(x) else np.float32)
    f = adapted_functional(L1Norm())
    assert f.precision == "float32" and "dtype" in f.unpromised
    assert check(L1Norm(), shape=(4,))


# ODL: proximal factories, gradients and conjugates of spaces with a weight.


class Space:
    def __init__(self, shape, weight=1.0, array=None):
        self.shape, self.dtype = shape, np.dtype(float)
        self.weighting = SimpleNamespace(const=weight) if array is None else SimpleNamespace(array=array)

    def element(self, values):
        return SimpleNamespace(data=np.asarray(values))

    def one(self):
        return self.element(np.ones(self.shape))


@claimed_by("odl.functionals.functional")
class OdlFunctional:
    """``w |x|_1`` in the inner product that is w times the plain one, or ``w |x|^2``."""

    grad_lipschitz = float("nan")

    def __init__(self, space, factor=1.0):
        self.domain, self.factor = space, factor
        self.weight = getattr(space.weighting, "const", 1.0)

    @property
    def adjoint(self):
        raise NotImplementedError

    @property
    def gradient(self):
        raise NotImplementedError


@claimed_by("odl.functionals.default_functionals")
class Magnitudes(OdlFunctional):
    def __call__(self, x):
        return self.weight * np.sum(np.abs(x.data))

    def proximal(self, sigma):
        return lambda x: SimpleNamespace(data=shrink(x.data, self.factor * sigma))

    @property
    def convex_conj(self):
        return UnitBall(self.domain)


@claimed_by("odl.functionals.default_functionals")
class UnitBall(OdlFunctional):
    def __call__(self, x):
        return 0.0 if np.max(np.abs(x.data), initial=0.0) <= 1 + 1e-9 else np.inf

    def proximal(self, sigma):
        return lambda x: SimpleNamespace(data=x.data / np.maximum(1, np.abs(x.data)))

    @property
    def convex_conj(self):
        return Magnitudes(self.domain)


@claimed_by("odl.functionals.functional")
class FunctionalDefaultConvexConjugate(OdlFunctional):
    pass


@claimed_by("odl.functionals.default_functionals")
class Squares(OdlFunctional):
    grad_lipschitz = 2.0

    def __call__(self, x):
        return self.weight * np.sum(x.data**2)

    @property
    def gradient(self):
        return lambda x: SimpleNamespace(data=self.factor * 2 * x.data)

    @property
    def proximal(self):
        raise NotImplementedError

    @property
    def convex_conj(self):
        return FunctionalDefaultConvexConjugate(self.domain)


@pytest.mark.parametrize("weight", [1.0, 0.25])
def test_odl(weight):
    space = Space((3, 2), weight)
    report = check(Magnitudes(space))
    assert report and {"moreau", "fenchel", "biconjugate"} <= set(report.checked), str(report)
    assert "2 t" in str(check(Magnitudes(space, 2.0)))
    report = check(Squares(space))
    assert report and "prox" not in report.checked, str(report)
    assert "0.5 times" in str(check(Squares(space, 0.5)))
    too_low = Squares(space)
    too_low.grad_lipschitz = 1.8
    assert "0.9 times" in str(check(too_low))
    with pytest.raises(ParameterError, match="single weight"):
        check(Magnitudes(Space((3, 2), array=np.arange(1.0, 7).reshape(3, 2))))


# Recognition.


def test_functionals_are_told_from_operators():
    assert is_foreign_functional(L1()) and not is_foreign_operator(L1())
    assert is_foreign_functional(Magnitudes(Space((2,)))) and not is_foreign_operator(Magnitudes(Space((2,))))
    assert not is_foreign_functional(L1) and not is_foreign_functional(oa.functionals.Norm1())
    assert not is_foreign_functional(oa.Identity((3,)))
    f = L1()
    assert adapted(f) is f
    made = adapted_functional(f)
    assert isinstance(made, AdaptedFunctional) and adapted_functional(made) is made
    module = SimpleNamespace(f=f, S=oa.box(0.0, 1.0), __name__="things", kind=L1)
    assert [thing.name for thing in collected(module)] == ["f", "S"]
    assert "odl" not in sys.modules and "pyproximal" not in sys.modules
