"""Constants and parameters: what they copy, refuse and promise."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

from opalg.errors import DtypeError, NonFiniteError, ParameterError
from opalg.leaves import Constant, Leaf, Parameter, check_finite


@pytest.mark.parametrize("leaf", [Constant, Parameter])
@pytest.mark.parametrize(
    ("value", "shape", "kind"),
    [
        (np.ones((2, 3)), (2, 3), "real"),
        (np.ones(2, np.float32), (2,), "real"),
        (np.ones(2, complex), (2,), "complex"),
        (3, (), "real"),
        (2.5, (), "real"),
        (1j, (), "complex"),
        (np.float32(1.5), (), "real"),
        (np.array([True, False]), (2,), "bool"),
        ([1.0, 2.0], (2,), "real"),
    ],
)
def test_shape_and_kind(leaf, value, shape, kind):
    made = leaf(value)
    assert made.shape == shape
    assert made.kind == kind


@pytest.mark.parametrize("leaf", [Constant, Parameter])
@pytest.mark.parametrize("value", [np.arange(3), np.array(["a"]), np.array([object()])])
def test_other_dtypes_are_refused(leaf, value):
    with pytest.raises(DtypeError, match="Convert it"):
        leaf(value, name="data")


def test_what_is_no_array_is_refused():
    with pytest.raises(DtypeError, match="array or a number, but is dict"):
        Constant({})


@pytest.mark.parametrize("leaf", [Constant, Parameter])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [float, complex])
def test_nan_and_infinity_are_refused_with_their_place(leaf, bad, dtype):
    value = np.ones((3, 4), dtype)
    value[1, 2] = bad
    with pytest.raises(
        NonFiniteError, match=r"1 of 12 entries, the first at index \(1, 2\).*Restrict.*by 0.*with a Mask"
    ):
        leaf(value)
    with pytest.raises(NonFiniteError):
        leaf(bad)


def test_infinite_imaginary_part_is_refused():
    with pytest.raises(NonFiniteError):
        Constant(np.array([complex(0, np.inf)]))


@pytest.mark.parametrize("leaf", [Constant, Parameter])
def test_the_array_is_copied_and_frozen(leaf):
    given = np.ones(3)
    made = leaf(given)
    given[0] = 7
    assert made.value[0] == 1
    with pytest.raises(ValueError, match="read-only"):
        made.value[0] = 2


def test_sharing_freezes_the_given_array():
    given = np.ones(3)
    made = Constant(given, copy=False)
    assert made.value is given
    with pytest.raises(ValueError, match="read-only"):
        given[0] = 2


def test_torch_tensors_are_cloned_and_detached():
    torch = pytest.importorskip("torch")
    given = torch.ones(3, dtype=torch.float64, requires_grad=True)
    made = Parameter(given)
    assert not made.value.requires_grad
    with torch.no_grad():
        given[0] = 5
    assert float(made.value[0]) == 1
    assert made.kind == "real"
    with pytest.raises(DtypeError):
        Constant(torch.ones(3, dtype=torch.int64))
    with pytest.raises(NonFiniteError):
        Constant(torch.tensor([1.0, float("nan")]))


def test_sparse_matrices():
    matrix = scipy.sparse.random(4, 5, density=0.4, random_state=0, format="csr")
    made = Constant(matrix)
    assert made.shape == (4, 5)
    assert made.kind == "real"
    matrix.data[0] = 99
    assert made.value.data[0] != 99
    matrix.data[0] = np.nan
    with pytest.raises(NonFiniteError):
        Constant(matrix)
    with pytest.raises(DtypeError):
        Constant(scipy.sparse.csr_matrix(np.eye(2, dtype=int)))


def test_domains():
    assert Parameter(0.0, nonneg=True).value == 0
    with pytest.raises(ParameterError, match=r"'lambda' was declared nonnegative.* -1"):
        Parameter(-1.0, name="lambda", nonneg=True)
    with pytest.raises(ParameterError, match="declared positive"):
        Parameter(np.array([1.0, 0.0]), positive=True)
    lam = Parameter(np.ones(2), name="w", positive=True)
    lam.check(np.array([0.1, 5.0]))
    with pytest.raises(ParameterError, match="'w'"):
        lam.check(np.array([0.1, -5.0]))
    with pytest.raises(NonFiniteError, match="'w'"):
        lam.check(np.array([0.1, np.nan]))


@pytest.mark.parametrize("leaf", [Constant, Parameter])
def test_names_are_strings(leaf):
    for name in (3, b"x", ("x",)):
        with pytest.raises(ParameterError, match="must be a string"):
            leaf(1.0, name=name)


@pytest.mark.parametrize("sign", ["nonneg", "positive"])
def test_complex_parameters_have_no_sign(sign):
    with pytest.raises(ParameterError, match="complex and has no sign"):
        Parameter(-1j, **{sign: True})


@pytest.mark.parametrize("leaf", [Constant, Parameter])
def test_foreign_byte_orders_are_refused_with_the_remedy(leaf):
    for code in ("f8", "f4", "c16"):
        value = np.ones(2, np.dtype(code).newbyteorder("S"))
        with pytest.raises(DtypeError, match="newbyteorder"):
            leaf(value)
        assert leaf(value.astype(value.dtype.newbyteorder("="))).shape == (2,)


@pytest.mark.parametrize("leaf", [Constant, Parameter])
def test_masked_arrays_are_refused_with_the_remedy(leaf):
    with pytest.raises(DtypeError, match=r"filled\(0\).*Mask"):
        leaf(np.ma.masked_invalid([1.0, np.nan]))


def test_labels():
    assert Parameter(1.0, name="lambda").label == "lambda"
    assert Parameter(1.0).label == "parameter"
    assert Constant(1.0).label == "constant"


def test_identity():
    assert Parameter(1.0) is not Parameter(1.0)
    assert isinstance(Parameter(1.0), Leaf)
    assert Constant(1.0).children == ()


def test_empty_arrays_are_finite():
    check_finite(np.zeros((0, 3)), "nothing")
    assert Constant(np.zeros((0, 3))).shape == (0, 3)
    assert Parameter(np.zeros(0), nonneg=True).shape == (0,)


def test_finite_values_whose_sum_is_not_are_accepted():
    check_finite(np.full(3, 1e308), "a")
    with pytest.raises(NonFiniteError, match="2 of 3 entries"):
        check_finite(np.array([np.inf, 1.0, -np.inf]), "a")


@pytest.mark.parametrize("library", ["numpy", "torch", "array_api_strict"])
@pytest.mark.parametrize("values", [[1.0, -2.0], -2.0], ids=["array", "number"])
def test_signs_are_checked_on_every_library(library, values):
    xp = pytest.importorskip(library)
    assert Parameter(abs(xp.asarray(values)), name="w", nonneg=True).nonneg
    with pytest.raises(ParameterError, match="smallest entry is -2"):
        Parameter(xp.asarray(values), name="w", nonneg=True)
