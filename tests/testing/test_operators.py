"""check_operator: right operators pass, and what is said about wrong ones (the seeded faults are in `test_faults`)."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg

import opalg as oa
from opalg.errors import AdjointError, NotLinearError, ParameterError
from opalg.facts import exact
from opalg.program.expression import as_expression
from opalg.testing import FailedAdjointError, check_operator
from tests.operators.test_contract import CASES
from tests.testing.faults import FAULTS

SIZES = [(6, 5), (257, 256)]


@pytest.mark.parametrize("operator", CASES, ids=[f"{i}-{o!r}"[:60] for i, o in enumerate(CASES)])
def test_the_whole_catalogue_passes(operator):
    report = check_operator(operator)
    assert report, str(report)
    assert len(report.checked) == 14


@pytest.mark.parametrize(
    "operator",
    [
        oa.Gradient((129, 128)),
        oa.Gradient((129, 128), boundary="periodic").H,
        oa.FFT((129, 128)),
        oa.RFFT((128, 129)),
        oa.Convolve(oa.gaussian_kernel(1.5, 4), (129, 128), boundary="zero"),
        oa.Wavelet((128, 128), "db2", levels=3),
        oa.Gradient((129, 128)).gram,
    ],
    ids=repr,
)
def test_the_catalogue_passes_at_a_real_size(operator):
    report = check_operator(operator)
    assert report, str(report)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_single_precision_still_sees_a_border(size, dtype):
    border = next(f for f in FAULTS if f.name.startswith("zero where"))
    assert check_operator(border.build(size), dtype=dtype).failed("adjoint")


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_worst_pair_is_where_the_fault_is(size):
    corner = next(f for f in FAULTS if f.name == "one wrong corner pixel")
    (finding,) = check_operator(corner.build(size)).findings
    last = (size[0] - 1, size[1] - 1)
    assert finding.where == (last, last)
    assert finding.error > 1e-6


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_random_place_is_found_by_halving(size):
    place = (size[0] // 3, size[1] // 2 + 1)

    def adjoint(y):
        out = 2.0 * y
        out[place] += 0.01 * y[0, 1]
        return out

    (finding,) = check_operator(oa.FunctionOperator(lambda x: 2.0 * x, adjoint, in_shape=size)).findings
    assert finding.where == ((0, 1), place)


def test_a_report_raises_what_its_finding_is():
    report = check_operator(FAULTS[2].build((6, 5)))
    assert not report
    with pytest.raises(FailedAdjointError, match="2 times the adjoint") as caught:
        report.raise_if_failed()
    assert isinstance(caught.value, AssertionError) and isinstance(caught.value, AdjointError)
    assert caught.value.report is report
    right = check_operator(oa.Identity((3,)))
    assert right.raise_if_failed() is right
    assert "all hold" in str(right)


@pytest.mark.parametrize(
    "forward",
    [lambda x: x + 1.0, np.abs, lambda x: np.clip(x, -5, 5), lambda x: x * np.linalg.norm(x)],
    ids=["affine", "abs", "clipped", "quadratic"],
)
def test_what_is_not_linear_is_caught(forward):
    operator = oa.FunctionOperator(forward, lambda y: y, in_shape=(4, 3), in_dtype="real")
    report = check_operator(operator, skip=["adjoint"])
    assert report.failed("linear")
    assert "adjoint" not in report.checked
    with pytest.raises(NotLinearError):
        report.raise_if_failed()


class Doubling:
    """A class of a user's own, right unless one of its habits is changed."""

    in_shape = out_shape = (5, 4)

    def apply(self, x):
        if x.shape != (5, 4):
            raise ValueError("wrong shape")
        return 2.0 * x

    @property
    def H(self):
        return Doubling()


def test_a_class_of_ones_own_is_checked():
    report = check_operator(Doubling())
    assert report, str(report)
    assert any("batch" in note for note in report.notes)
    assert check_operator(Doubling(), batched=True).failed("batch")


def _writes(self, x):
    x *= 2.0
    return x.copy()


class Buffered(Doubling):
    """Reuses one buffer."""

    buffer = np.zeros((5, 4))

    def apply(self, x):
        if x.shape != (5, 4):
            raise ValueError("wrong shape")
        self.buffer[...] = 2.0 * x
        return self.buffer


class Drifting(Doubling):
    """Gives something else each time."""

    calls = 0

    def apply(self, x):
        type(self).calls += 1
        return super().apply(x) * (1 + 1e-16 * self.calls + 1e-10 * (self.calls % 2))


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"apply": _writes}, "inputs"),
        ({"apply": lambda self, x: x[:]}, "fresh"),
        ({"apply": lambda self, x: 2.0 * x.astype(float)}, "dtype"),
        ({"apply": lambda self, x: 2.0 * x}, "refusal"),
        ({"apply": lambda self, x: 2.0 * x[:4]}, "runs"),
        ({"apply": lambda self, x: x / 0.0}, "runs"),
        ({"apply": lambda self, x: x @ x}, "runs"),
        ({"norm_bound": lambda self: 1.9}, "norm"),
        ({"norm_bound": lambda self: exact(2.5)}, "norm"),
        ({"facts": oa.operators.Facts(gram_scale=as_expression(1.0))}, "facts"),
        ({"facts": oa.operators.Facts(lowest=as_expression(2.1))}, "facts"),
        ({"apply": lambda self, x: -2.0 * x, "facts": oa.operators.Facts(positive=oa.YES)}, "facts"),
        ({"apply": lambda self, x: np.roll(x, 1, 0), "facts": oa.operators.Facts(diagonal=oa.YES)}, "facts"),
        ({"apply": lambda self, x: np.roll(x, 1, 0), "facts": oa.operators.Facts(self_adjoint=oa.YES)}, "facts"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_bad_manners_and_false_claims_are_caught(changes, name):
    report = check_operator(type("Changed", (Doubling,), changes)(), kinds=["real"])
    assert report.failed(name), str(report)


@pytest.mark.parametrize(("cls", "name"), [(Buffered, "fresh"), (Drifting, "repeatable")])
def test_state_between_calls_is_caught(cls, name):
    assert check_operator(cls(), kinds=["real"]).failed(name)


def test_the_adjoint_of_the_adjoint_is_looked_at():
    class Forgets:
        in_shape = out_shape = (3,)

        def __init__(self, matrix, back):
            self.matrix, self.back = matrix, back

        def apply(self, x):
            return self.matrix.astype(x.dtype) @ x

        @property
        def H(self):
            return Forgets(self.back, self.back)

    matrix = np.triu(np.ones((3, 3)))
    assert check_operator(Forgets(matrix, matrix.T)).failed("involution")


def test_matrices_and_scipy_operators_are_checked():
    matrix = scipy.sparse.random_array((7, 5), density=0.4, rng=np.random.default_rng(0))
    assert check_operator(scipy.sparse.linalg.aslinearoperator(matrix), skip=["dtype"])
    wrong = scipy.sparse.linalg.LinearOperator((5, 5), matvec=np.cumsum, rmatvec=np.cumsum, dtype=float)
    report = check_operator(wrong, skip=["dtype"])
    assert "repeats the forward map" in str(report)


def test_real_only_operators_are_found_out():
    class Real(Doubling):
        def apply(self, x):
            if np.iscomplexobj(x):
                raise TypeError("real arrays only")
            return super().apply(x)

        H = property(lambda self: self)

    report = check_operator(Real())
    assert report
    assert any("real ones" in note for note in report.notes)


def test_an_approximate_adjoint_is_noted_not_failed():
    A = oa.FunctionOperator(lambda x: x, lambda y: 1.01 * y, in_shape=(4,), adjoint_exact=False)
    report = check_operator(A)
    assert report
    assert any("approximate" in note for note in report.notes)


def test_on_torch():
    torch = pytest.importorskip("torch")
    right = oa.FunctionOperator(lambda x: torch.cumsum(x, -1), in_shape=(4, 3))
    assert check_operator(right, library="torch")
    wrong = oa.FunctionOperator(lambda x: torch.cumsum(x, -1), lambda y: torch.cumsum(y, -1), in_shape=(4, 3))
    assert check_operator(wrong, library="torch").failed("adjoint")
    assert check_operator(right, library="numpy").failed("runs")


def test_misuse_is_refused():
    with pytest.raises(ParameterError, match="in_shape"):
        check_operator(np.sin)
    with pytest.raises(ParameterError, match="not a property"):
        check_operator(oa.Identity((3,)), skip=["adjiont"])
    with pytest.raises(ParameterError, match="kinds"):
        check_operator(oa.Identity((3,)), kinds=["quaternion"])
    with pytest.raises(ParameterError, match="no adjoint"):
        check_operator(type("Half", (), {"in_shape": (3,), "out_shape": (3,), "apply": lambda self, x: x})())


def test_the_generator_decides_and_nothing_global_does():
    np.random.seed(3)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    fault = FAULTS[2].build((6, 5))
    assert str(check_operator(fault)) == str(check_operator(fault))
    check_operator(fault, np.random.default_rng(5))
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002
