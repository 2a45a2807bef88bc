"""The kit on operators and functionals that other libraries made, with those libraries themselves: `pytest -m slow`.

Each test runs where its library is installed. PyLops is among the packages for tests; SigPy, ODL, SCICO (with JAX) and
DeepInverse (with Torchvision) are large and pin others, so they are installed by hand where this is to be repeated, as
are PyProximal and PyUNLocBoX.
"""

from __future__ import annotations

import numpy as np
import pytest

from opalg.testing import check_functional, check_operator

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # the libraries warn about each other's versions
]


def library(name):
    package = name.partition(".")[0]
    return pytest.importorskip(name, reason=f"{package} is not installed: pip install {package}", exc_type=ImportError)


def passes(operator, **options):
    report = check_operator(operator, **options)
    assert report, str(report)
    assert {"adjoint", "linear", "norm", "layout"} <= set(report.checked)
    return report


def fails_adjoint(operator, **options):
    report = check_operator(operator, **options)
    assert report.failed("adjoint"), str(report)
    return report


def test_pylops():
    pylops = library("pylops")
    passes(pylops.FirstDerivative((7, 6), axis=0, kind="centered", edge=True))
    passes(pylops.Laplacian((7, 6), axes=(0, 1), weights=(1, 1)))
    passes(pylops.MatrixMult(np.array([[1.0, 2j], [3.0, 4.0], [0.0, 1j]]), dtype=complex))
    passes(pylops.CausalIntegration((5, 4), axis=-1))
    passes(pylops.signalprocessing.FFT((8, 3), axis=0, real=False))
    passes(pylops.signalprocessing.FFT((8, 3), axis=0, real=True))
    passes(pylops.FirstDerivative((9, 4)).H)
    passes(pylops.VStack([pylops.Identity(4), 2.0 * pylops.Identity(4)]))

    class Wrong(pylops.LinearOperator):
        def __init__(self):
            super().__init__(dtype=np.dtype(float), dims=(5,), dimsd=(5,))

        def _matvec(self, x):
            return np.cumsum(x)

        def _rmatvec(self, y):
            return np.cumsum(y)

    assert "repeats the forward map" in str(fails_adjoint(Wrong()))


def test_sigpy():
    sigpy = library("sigpy")
    passes(sigpy.linop.FFT((6, 5)))
    passes(sigpy.linop.FiniteDifference((6, 5)))
    passes(sigpy.linop.Multiply((6, 5), np.array(2 - 1j)) * sigpy.linop.Circshift((6, 5), (1, 2)))
    passes(sigpy.linop.Downsample((6, 6), (2, 3)))

    class Wrong(sigpy.linop.Linop):
        def __init__(self):
            super().__init__((4, 3), (4, 3))

        def _apply(self, x):
            return 1j * x

        def _adjoint_linop(self):
            return self

    assert "conjugate" in str(fails_adjoint(Wrong()))


def test_odl():
    odl = library("odl")
    square = odl.uniform_discr([0, 0], [1, 2], (6, 5))
    passes(odl.Gradient(square))
    passes(odl.Gradient(square).adjoint)
    passes(odl.Laplacian(square, pad_mode="constant"))
    passes(odl.MatrixOperator(np.arange(12.0).reshape(3, 4)))
    weighted = odl.rn(3, weighting=np.array([1.0, 2.0, 3.0]))

    class Wrong(odl.Operator):
        """Takes no notice of the weights of its spaces."""

        def __init__(self, matrix, domain, codomain, back):
            super().__init__(domain, codomain, linear=True)
            self.matrix, self.back = matrix, back

        def _call(self, x):
            return self.range.element(self.matrix @ np.asarray(x.data))

        @property
        def adjoint(self):
            return Wrong(self.back, self.range, self.domain, self.matrix)

    matrix = np.arange(12.0).reshape(3, 4)
    passes(Wrong(matrix, odl.rn(4), weighted, matrix.T * np.array([1.0, 2.0, 3.0])))
    fails_adjoint(Wrong(matrix, odl.rn(4), weighted, matrix.T))


def test_scico():
    scico = library("scico.linop")
    snp = pytest.importorskip("scico.numpy")
    passes(scico.FiniteDifference((6, 5)))
    passes(scico.FiniteDifference((6, 5), circular=True))
    passes(scico.DFT((6, 5)))
    passes(scico.Diagonal(snp.array(np.arange(5, dtype=np.complex64) * 1j)))
    wrong = scico.LinearOperator((4,), (4,), eval_fn=lambda x: snp.cumsum(x), adj_fn=lambda y: 2 * y)
    fails_adjoint(wrong)


def test_deepinv():
    torch = library("torch")
    physics = library("deepinv").physics
    generator = torch.Generator().manual_seed(0)
    kernel = torch.rand((1, 1, 3, 3), generator=generator)
    passes(physics.Blur(filter=kernel, padding="circular"), in_shape=(1, 8, 7))
    passes(physics.BlurFFT((1, 8, 7), filter=kernel))
    passes(physics.Inpainting((1, 8, 7), mask=0.5))
    passes(physics.MRI(mask=torch.ones(1, 2, 8, 8), img_size=(2, 8, 8)), in_shape=(2, 8, 8))

    class Wrong(physics.LinearPhysics):
        def A(self, x, **options):
            return 2 * x

        def A_adjoint(self, y, **options):
            return y / 2

    assert "0.25 times" in str(fails_adjoint(Wrong(), in_shape=(1, 6, 5)))


def test_torch():
    torch = library("torch")
    torch.manual_seed(0)
    passes(torch.nn.Conv2d(2, 3, 3, bias=False, padding=1), in_shape=(2, 6, 5))
    passes(torch.nn.Linear(4, 3, bias=False).double())
    assert check_operator(torch.nn.Linear(4, 3)).failed("linear")


# Functionals. What is asserted to fail are defects of the versions named: if one passes, it was mended.

EDGES = ("extremes",)  # in single precision the squares of most libraries overflow from 1e20 on


def right(functional, skip=EDGES, **options):
    report = check_functional(functional, skip=skip, **options)
    assert report, str(report)
    return report


def wrong(functional, name, words="", **options):
    report = check_functional(functional, **options)
    found = [str(f) for f in report.findings if f.name == name]
    assert found and any(words in f for f in found), str(report)


def test_functionals_of_pyproximal():
    p = library("pyproximal")
    rng = np.random.default_rng(0)
    data = rng.standard_normal(12)
    right(p.L1(sigma=0.7), skip=())
    right(p.L1(sigma=0.7, g=data), skip=())
    right(p.L2(sigma=0.7, b=data), skip=())
    right(p.Euclidean(0.7), kinds=["real", "complex"])
    right(p.L21(ndim=3, sigma=0.7), kinds=["real", "complex"])
    right(p.L21_plus_L1(sigma=0.7, rho=0.4))
    right(p.Box(-0.5, 0.7), skip=())
    right(p.EuclideanBall(0.3, 1.2), skip=())
    right(p.HuberCircular(alpha=0.7))
    for nonconvex in (p.Log(sigma=0.7, gamma=1.3), p.Geman(sigma=0.7, gamma=1.3), p.SCAD(sigma=0.7, a=3.7)):
        right(nonconvex)
    right(p.ETP(sigma=0.7, gamma=1.0), skip=())
    right(p.Quadratic(b=data), skip=())


def test_defects_of_pyproximal():
    """As of 0.13.0."""
    p = library("pyproximal")
    wrong(p.L0(1.0), "prox", "t^2 / 2")
    wrong(p.Huber(alpha=0.7), "prox")
    wrong(p.Log1(sigma=0.7, delta=0.1), "prox")
    wrong(p.RelaxedMumfordShah(sigma=0.7, kappa=0.5), "prox")
    wrong(p.QuadraticEnvelopeCard(mu=0.7), "prox")
    wrong(p.L1(sigma=0.7), "moreau", kinds=["complex"])
    wrong(p.Euclidean(0.7), "extremes", "overflow")


def test_functionals_of_pyunlocbox():
    F = library("pyunlocbox").functions
    rng = np.random.default_rng(0)
    data = rng.standard_normal((3, 4))
    right(F.norm_l1(lambda_=0.7), skip=())
    right(F.norm_l1(lambda_=0.7, y=data, w=2.0), skip=())
    right(F.norm_l2(lambda_=0.7, y=data), skip=())
    right(F.proj_positive(), skip=())
    right(F.proj_b2(epsilon=1.3, y=data), skip=())
    right(F.proj_lineq(A=rng.standard_normal((2, 4)), y=np.ones(2)), shape=(4,))
    right(F.dummy(), skip=())
    # as of 0.6.1
    wrong(F.norm_l1(lambda_=0.7), "prox", "no imaginary part", kinds=["complex"])
    wrong(F.norm_l2(lambda_=0.7), "gradient", "conjugate", kinds=["complex"])
    wrong(F.norm_nuclear(lambda_=0.7), "prox", "not aligned")


@pytest.fixture
def double():
    """JAX in double precision for one test."""
    jax = library("jax")
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


@pytest.mark.usefixtures("double")
def test_functionals_of_scico():
    F = library("scico.functional")
    snp = pytest.importorskip("scico.numpy")
    for f in (F.L1Norm(), F.SquaredL2Norm(), F.HuberNorm(delta=0.7, separable=True), F.NuclearNorm(), 0.7 * F.L1Norm()):
        right(f, skip=())
    for f in (F.L2Norm(), F.L21Norm(), F.L21Norm(l2_axis=1), F.HuberNorm(delta=0.7, separable=False)):
        right(f)
    right(F.NonNegativeIndicator(), skip=(), kinds=["real"])
    right(F.SquaredSetDistance(lambda x: snp.clip(x, -1, 1)), kinds=["real"])
    # as of 0.0.7
    wrong(F.L0Norm(), "prox", "t^2 / 2")
    wrong(F.L2BallIndicator(1.2), "zeros", "0 / 0")
    wrong(F.L21Norm(), "extremes", "overflow")


def test_functionals_of_odl():
    odl = library("odl")
    F = odl.functionals
    for space in (odl.rn((3, 4)), odl.uniform_discr([0, 0], [1, 2], (3, 4))):
        right(F.L1Norm(space))
        right(F.L2Norm(space))
        right(F.L2NormSquared(space))
        right(F.L1Norm(space).convex_conj)
        right(0.7 * F.L1Norm(space))
        right(F.L1Norm(space).translated(space.one()))
        right(F.IndicatorBox(space, -0.5, 0.7))
        right(F.IndicatorLpUnitBall(space, 2))
        right(F.Huber(space, 0.7))
        right(F.KullbackLeibler(space, prior=2.0 * space.one()))
        right(F.GroupL1Norm(odl.ProductSpace(space, 2)))
        right(F.SeparableSum(F.L1Norm(space), F.L2Norm(space)))
        # as of 1.0.0
        wrong(F.IndicatorSimplex(space), "prox", "RuntimeError")
        wrong(F.IndicatorSumConstraint(space), "prox", "AttributeError")
    wrong(F.L1Norm(odl.cn((3, 4))), "value", "LinearSpaceTypeError")
