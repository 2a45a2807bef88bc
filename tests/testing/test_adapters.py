"""Operators of other libraries: SciPy, Torch and PyLops themselves, and stand-ins for those that are not installed.

A stand-in is a class that says it comes from the library and has the attributes that its operators have; the libraries
themselves are tried in `test_peers`.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg

import opalg as oa
from opalg.errors import ParameterError
from opalg.testing import check_operator
from opalg.testing.adapters import Adapted, adapted, library_of

MATRIX = np.random.default_rng(0).standard_normal((4, 6))
COMPLEX = MATRIX * np.exp(1j * np.arange(6))


def claimed_by(module):
    """Makes a class say that a library defines it."""

    def claim(cls):
        cls.__module__ = module
        return cls

    return claim


# SciPy and NumPy.


@pytest.mark.parametrize("entries", [MATRIX, COMPLEX], ids=["real", "complex"])
@pytest.mark.parametrize(
    "made", [np.array, scipy.sparse.csr_array, scipy.sparse.coo_matrix, scipy.sparse.linalg.aslinearoperator]
)
def test_matrices_pass(made, entries):
    report = check_operator(made(entries))
    assert report, str(report)
    assert "scipy" in report.subject and "(4, 6)" in report.subject
    assert "dtype" not in report.checked and any("dtype was not tried" in note for note in report.notes)


def test_a_wrong_scipy_operator_is_caught():
    wrong = scipy.sparse.linalg.LinearOperator((5, 5), matvec=np.cumsum, rmatvec=np.cumsum, dtype=float)
    assert "repeats the forward map" in str(check_operator(wrong))
    with pytest.raises(ParameterError, match="two axes"):
        check_operator(np.ones(3))


def test_properties_that_are_not_promised_can_still_be_skipped_by_name():
    report = check_operator(MATRIX, skip=["dtype", "fresh"])
    assert report and not any("not tried: SciPy" in note for note in report.notes)


# Torch.


def test_torch_modules():
    torch = pytest.importorskip("torch")
    generator = torch.Generator().manual_seed(0)
    linear = torch.nn.Linear(4, 3, bias=False)
    convolution = torch.nn.Conv2d(2, 3, 3, bias=False, padding=1)
    with torch.no_grad():
        for module in (linear, convolution):
            module.weight.copy_(torch.randn(module.weight.shape, generator=generator))
    report = check_operator(linear)
    assert report, str(report)
    assert any("float32" in str(note) or "precision" in str(note) for note in report.notes)
    report = check_operator(convolution.double(), in_shape=(2, 5, 4))
    assert report and report.errors["adjoint"] < 1e-13, str(report)
    assert check_operator(torch.tensor(COMPLEX))
    with pytest.raises(ParameterError, match=r"in_shape=\(...\)"):
        check_operator(convolution)
    with pytest.raises(ParameterError, match="two axes"):
        check_operator(torch.ones(3))
    assert check_operator(torch.nn.Linear(4, 3)).failed("linear")


def test_a_torch_module_with_an_adjoint_or_a_backward_pass_of_its_own():
    torch = pytest.importorskip("torch")

    class Backward(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return torch.cumsum(x, -1)

        @staticmethod
        def backward(ctx, y):
            return torch.cumsum(y, -1)  # of the end first would be right

    class Sums(torch.nn.Module):
        in_shape = (5,)

        def __init__(self, own=None):
            super().__init__()
            self.own = own

        def forward(self, x):
            return torch.cumsum(x, -1) if self.own else Backward.apply(x)

        @property
        def adjoint(self):
            return self.own

    assert check_operator(Sums(lambda y: torch.cumsum(y.flip(-1), -1).flip(-1)))
    assert check_operator(Sums(lambda y: 2 * torch.cumsum(y.flip(-1), -1).flip(-1))).failed("adjoint")
    report = check_operator(Sums(), kinds=["real"])
    assert report.failed("adjoint") and "repeats the forward map" in str(report)

    class Pair(torch.nn.Module):
        in_shape = (5,)

        def forward(self, x):
            return x, x

    with pytest.raises(ParameterError, match="one tensor"):
        check_operator(Pair())


# DeepInverse: physics with A and A_adjoint on batches.


def physics(factor):
    torch = pytest.importorskip("torch")

    @claimed_by("deepinv.physics.forward")
    class LinearPhysics(torch.nn.Module):
        img_size = (1, 4, 3)

        def A(self, x, **options):
            assert x.ndim == 4
            return 2 * torch.roll(x, 1, -1)

        def A_adjoint(self, y, **options):
            return factor * torch.roll(y, -1, -1)

    return LinearPhysics()


def test_deepinv_physics():
    report = check_operator(physics(2.0))
    assert report and "deepinv LinearPhysics" in report.subject, str(report)
    assert "0.25 times" in str(check_operator(physics(0.5), in_shape=(2, 5, 4)))
    torch = pytest.importorskip("torch")

    @claimed_by("deepinv.models.base")
    class Denoiser(torch.nn.Module):
        in_shape = (4,)

        def forward(self, x):
            return 3.0 * x

    assert check_operator(Denoiser())

    @claimed_by("deepinv.physics.stacked")
    class Stacked(torch.nn.Module):
        img_size = (2,)

        def A(self, x):
            return [x, x]

        def A_adjoint(self, y):
            return y[0] + y[1]

    with pytest.raises(ParameterError, match="that it is made of"):
        check_operator(Stacked())


# SigPy: linops with ishape and oshape, complex arrays.


@claimed_by("sigpy.linop")
class Linop:
    def __init__(self, matrix, back):
        self.matrix, self.back = matrix, back
        self.ishape, self.oshape = [2, 3], [4]
        if matrix.shape[0] == 6:
            self.ishape, self.oshape = self.oshape, self.ishape

    def apply(self, x):
        assert list(x.shape) == self.ishape
        return (self.matrix @ x.ravel()).reshape(self.oshape)

    @property
    def H(self):
        return Linop(self.back, self.matrix)


def test_sigpy_linops():
    report = check_operator(Linop(COMPLEX, COMPLEX.conj().T))
    assert report, str(report)
    assert "conjugate is missing" in str(check_operator(Linop(COMPLEX, COMPLEX.T)))


# SCICO: JAX arrays, whose stand-ins are NumPy's; blocks where there are several results.


class BlockArray(list):
    pass


@claimed_by("scico.linop")
class ScicoOperator:
    def __init__(self, factor=1.0, blocks=False, complex_input=False):
        self.factor, self.blocks = factor, blocks
        self.input_shape = (3, 4)
        self.output_shape = ((2, 4), (3, 3)) if blocks else (3, 4)
        self.input_dtype = np.complex64 if complex_input else np.float32
        self.output_dtype = np.complex64 if complex_input else np.float32

    def __call__(self, x):
        return BlockArray([np.diff(x, axis=0), np.diff(x, axis=1)]) if self.blocks else x * 3

    def adj(self, y):
        if not self.blocks:
            return self.factor * y * 3
        out = np.zeros(self.input_shape, y[0].dtype)
        out[1:] += y[0]
        out[:-1] -= y[0]
        out[:, 1:] += y[1]
        out[:, :-1] -= y[1]
        return self.factor * out


@pytest.fixture
def scico(monkeypatch):
    snp = SimpleNamespace(array=np.array, BlockArray=BlockArray)
    monkeypatch.setitem(sys.modules, "scico", SimpleNamespace(numpy=snp))
    monkeypatch.setitem(sys.modules, "scico.numpy", snp)


@pytest.mark.usefixtures("scico")
def test_scico_operators():
    for operator in (ScicoOperator(), ScicoOperator(blocks=True), ScicoOperator(complex_input=True)):
        report = check_operator(operator)
        assert report, str(report)
    assert "2 times" in str(check_operator(ScicoOperator(2.0)))
    assert check_operator(ScicoOperator(-1.0, blocks=True)).failed("adjoint")
    with pytest.raises(ParameterError, match="takes shape"):
        adapted(ScicoOperator()).apply(np.ones((3, 5)))


# ODL: spaces with weights, in whose inner product the adjoint is one.


class Space:
    def __init__(self, shape, weight=None, array=None):
        self.shape, self.dtype = shape, np.dtype(float)
        self.weighting = SimpleNamespace(const=weight) if array is None else SimpleNamespace(array=array)

    def element(self, values):
        return SimpleNamespace(data=np.asarray(values))


class PowerSpace:
    is_power_space = True

    def __init__(self, part, count):
        self.parts_, self.shape = [part] * count, (count, *part.shape)
        self.weighting = SimpleNamespace(const=1.0)

    def __iter__(self):
        return iter(self.parts_)

    def element(self, values):
        return SimpleNamespace(parts=values)


@claimed_by("odl.operator.operator")
class OdlOperator:
    def __init__(self, domain, codomain, forward, back):
        self.domain, self.range, self.forward, self.back = domain, codomain, forward, back

    def __call__(self, x):
        return self.forward(x)

    @property
    def adjoint(self):
        return OdlOperator(self.range, self.domain, self.back, self.forward)


def odl_matrix(back, domain_weight, range_weight):
    return OdlOperator(
        Space((6,), domain_weight),
        Space((4,), array=range_weight),
        lambda x: SimpleNamespace(data=MATRIX @ x.data),
        lambda y: SimpleNamespace(data=back @ y.data),
    )


def test_odl_operators():
    weights = np.array([1.0, 2.0, 3.0, 4.0])
    report = check_operator(odl_matrix(MATRIX.T * weights / 0.5, 0.5, weights))
    assert report, str(report)
    assert check_operator(odl_matrix(MATRIX.T, 0.5, weights)).failed("adjoint")
    assert "2 times" in str(check_operator(odl_matrix(MATRIX.T, 0.5, 0.25 * np.ones(4))))


def test_odl_power_spaces():
    space = Space((3,), 0.25)

    def forward(x):
        return SimpleNamespace(parts=[SimpleNamespace(data=k * x.data) for k in (1.0, 2.0)])

    def back(y):
        return SimpleNamespace(data=sum(k * p.data for k, p in zip((1.0, 2.0), y.parts, strict=True)))

    assert check_operator(OdlOperator(space, PowerSpace(space, 2), forward, back))
    mixed = PowerSpace(space, 2)
    mixed.is_power_space = False
    with pytest.raises(ParameterError, match="product of different spaces"):
        check_operator(OdlOperator(space, mixed, forward, back))


# PyLops by its protocol (the library itself is tried in tests/interop/test_pylops_operator.py).


@claimed_by("pylops.linearoperator")
class PylopsOperator:
    shape, dims, dimsd, clinear = (4, 6), (2, 3), (4,), True

    def __init__(self, matrix, back, **changes):
        self.matrix, self.back, self.dtype = matrix, back, matrix.dtype
        vars(self).update(changes)

    def matvec(self, x):
        assert x.ndim == 1
        return self.matrix @ x

    def rmatvec(self, y):
        return self.back @ y


def test_pylops_operators():
    report = check_operator(PylopsOperator(COMPLEX, COMPLEX.conj().T))
    assert report and "(2, 3) -> (4,)" in report.subject, str(report)
    assert "conjugate is missing" in str(check_operator(PylopsOperator(COMPLEX, COMPLEX.T)))
    real = PylopsOperator(COMPLEX, COMPLEX.conj().T, clinear=False, rdtype=np.dtype(float))
    assert adapted(real).in_kind == "real"
    assert check_operator(real)
    flat = PylopsOperator(MATRIX, MATRIX.T, dims=None, dimsd=None)
    assert adapted(flat).in_shape == (6,) and check_operator(flat)


# Recognition.


def test_the_nearest_library_decides_and_nothing_is_imported_for_it():
    class OfAUser(PylopsOperator):
        pass

    assert library_of(OfAUser(MATRIX, MATRIX.T)) == "pylops"
    assert library_of(oa.Identity((3,))) is None
    assert library_of(np.sin) is None and library_of(MATRIX) == "numpy"
    A = oa.Identity((3,))
    assert adapted(A) is A
    made = adapted(MATRIX)
    assert isinstance(made, Adapted) and adapted(made) is made
    assert made.H.H.in_shape == (6,) and repr(made).startswith("scipy")
    assert "odl" not in sys.modules and "sigpy" not in sys.modules
