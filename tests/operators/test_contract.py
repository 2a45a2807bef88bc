"""What must hold for every operator, found by itself through its class and its ``examples``."""

from __future__ import annotations

import numpy as np
import pytest

import opalg.operators as ops
from opalg.arrays import backend
from opalg.errors import DtypeError, ParameterError, ShapeError, UnsupportedError
from opalg.facts import NO, YES
from opalg.leaves import Held, Parameter
from opalg.nodes import walk
from opalg.operators.algebra import Adjoint, LinearOperator
from opalg.program.interpreter import number
from tests.operators.dense import argument_kinds, as_reals, check_parameter_gradient, random_array, real_matrix, units


def _concrete(cls: type) -> list[type]:
    below = [c for sub in cls.__subclasses__() for c in _concrete(sub)]
    return [cls, *below] if cls is not LinearOperator else below


def combinations(rng: np.random.Generator) -> list[LinearOperator]:
    """Members of the classes that only ``+ @ *`` and stacks build."""
    d, m = ops.Diagonal(rng.standard_normal((2, 3))), ops.Matrix(rng.standard_normal((3, 3)))
    z = ops.Diagonal(rng.standard_normal((2, 3)) * (1 + 2j))
    grad, fft, rfft = ops.Gradient((2, 3)), ops.FFT((2, 3)), ops.RFFT((2, 3))
    square = ops.Matrix(rng.standard_normal((3, 3)))
    return [
        d @ ops.FiniteDifference((2, 3), 0),
        2.0 * grad,
        (1 - 2j) * d,
        (0.5 + 1j) * rfft,
        -3.0 * (square.H @ square),
        square.H @ square + 0.5 * ops.Identity((3,)),
        ops.Identity((2, 3)) + z,
        grad.H,
        (d @ grad.H).H,
        rfft.H,
        (3.0 * rfft).H,
        fft @ z,
        (fft @ z).conj(),
        m.conj(),
        ops.vstack([grad, 2.0 * grad]),
        ops.vstack([d, fft]),
        ops.hstack([d, z]),
        ops.hstack([rfft.H, rfft.H]),
    ]


def gathered() -> list[LinearOperator]:
    """Every example of every class."""
    rng = np.random.default_rng(7)
    found: list[LinearOperator] = []
    for cls in _concrete(LinearOperator):
        if "examples" in vars(cls) and cls.__module__.startswith("opalg."):
            found.extend(cls.examples(rng))
    return found + combinations(rng)


CASES = gathered()
every_operator = pytest.mark.parametrize("operator", CASES, ids=[f"{i}-{o!r}"[:90] for i, o in enumerate(CASES)])


def close(a: np.ndarray, b: np.ndarray, epsilon: float, *parts: np.ndarray) -> None:
    """Equal up to 200 eps of the largest entry that took part."""
    scale = max([1e-3, *(float(np.max(np.abs(p))) for p in (a, b, *parts) if p.size)])
    assert a.shape == b.shape
    assert np.max(np.abs(a - b), initial=0.0) <= 200 * epsilon * scale


def test_every_class_has_an_example():
    shown = {type(part) for case in CASES for part in (case, getattr(case, "operator", case))}
    here = [c for c in _concrete(LinearOperator) if c.__module__.startswith("opalg.") and not c.__subclasses__()]
    missing = [c.__name__ for c in here if c not in shown]
    assert not missing, f"no member of {missing} is tested; give the class a static examples(rng)"


@every_operator
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_adjoint_is_the_transposed_matrix(operator, dtype):
    for kind in argument_kinds(operator):
        forward = real_matrix(operator, kind, dtype=dtype)
        back = real_matrix(operator.H, operator.out_kind(kind), dtype=dtype)
        close(back, forward.T, np.finfo(dtype).eps)


@every_operator
def test_default_adjoint_operator_agrees_with_the_named_one(operator):
    for kind in argument_kinds(operator):
        out = operator.out_kind(kind)
        close(real_matrix(Adjoint(operator), out), real_matrix(operator.H, out), 2.3e-16)


@every_operator
def test_linear_and_batched(operator):
    rng = np.random.default_rng(1)
    for kind in argument_kinds(operator):
        x, y = (random_array(rng, (2, 3, *operator.in_shape), kind) for _ in range(2))
        together = operator @ (2.5 * x - y)
        close(together, 2.5 * (operator @ x) - operator @ y, 2.3e-16, x, y)
        single = np.stack([np.stack([operator @ x[i, j] for j in range(3)]) for i in range(2)])
        close(operator @ x, single, 2.3e-16)
        assert single.shape == (2, 3, *operator.out_shape)
        assert ("complex" if np.iscomplexobj(single) else "real") == operator.out_kind(kind)


@every_operator
@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_no_arrays_in_give_none_out(operator, library):
    lib = backend(library, "float64")
    for made in (operator, operator.H):
        kind = argument_kinds(made)[-1]
        found = made @ lib.zeros((2, 0, *made.in_shape), kind)
        assert tuple(found.shape) == (2, 0, *made.out_shape)


@every_operator
def test_gram_and_cogram(operator):
    for kind in argument_kinds(operator):
        out = operator.out_kind(kind)
        dense = real_matrix(operator, kind)
        if operator.gram.in_kind == operator.in_kind:
            close(real_matrix(operator.gram, kind)[: dense.shape[1]], dense.T @ dense, 2.3e-16)
        if operator.cogram.in_kind == operator.H.in_kind:
            close(real_matrix(operator.cogram, out)[: dense.shape[0]], dense @ dense.T, 2.3e-16)


@every_operator
def test_norm_bound(operator):
    bound = operator.facts.norm
    if bound is None or bound.certainty == "estimate":
        return
    norm = max(float(np.linalg.norm(real_matrix(operator, kind), 2)) for kind in argument_kinds(operator))
    assert bound.value >= norm * (1 - 1e-12)
    if bound.certainty == "exact":
        assert bound.value == pytest.approx(norm, rel=1e-12, abs=1e-14)


def test_every_operator_of_the_catalogue_bounds_its_norm():
    silent = [c for c in CASES if c.facts.norm is None and not isinstance(c, ops.OpaqueOperator)]
    assert silent == []
    assert all(c.facts.norm.certified for c in CASES if not isinstance(c, (ops.OpaqueOperator, ops.HeldNorm)))


@pytest.mark.parametrize(
    ("operator", "parameter"),
    [(c, n) for c in CASES for n in walk(c) if isinstance(n, Parameter) and not isinstance(n, Held)],
    ids=lambda value: repr(value)[:60],
)
def test_gradients_in_parameters(operator, parameter):
    check_parameter_gradient(operator, parameter, np.random.default_rng(0))


@every_operator
def test_facts_hold_for_the_matrix(operator):
    facts = operator.facts
    for kind in argument_kinds(operator):
        out = operator.out_kind(kind)
        dense = real_matrix(operator, kind)
        square = out == kind and operator.in_shape == operator.out_shape
        assert square or YES not in (facts.diagonal, facts.self_adjoint, facts.positive)
        if facts.self_adjoint is YES or facts.positive is YES:
            close(dense, dense.T, 2.3e-16)
        if facts.positive is YES:
            assert np.linalg.eigvalsh(dense)[0] >= -1e-12 * max(1.0, np.abs(dense).max())
        if facts.lowest is not None:
            lowest = np.linalg.eigvalsh(dense)[0]
            assert number(facts.lowest) <= lowest + 1e-12 * max(1.0, np.abs(dense).max())
        if facts.diagonal is YES:
            n = int(np.prod(operator.in_shape))
            entries = dense[:n, :n]
            close(entries, np.diag(np.diag(entries)), 2.3e-16)
        if facts.gram_scale is not None:
            close(dense.T @ dense, number(facts.gram_scale) * np.eye(dense.shape[1]), 2.3e-16)
        if facts.cogram_scale is not None:
            close(dense @ dense.T, number(facts.cogram_scale) * np.eye(dense.shape[0]), 2.3e-16)


@every_operator
def test_what_is_denied_does_not_hold(operator):
    facts = operator.facts
    found = {"diagonal": [], "self_adjoint": [], "positive": [], "unitary": []}
    for kind in argument_kinds(operator):
        dense = real_matrix(operator, kind)
        scale = 1e-9 * max(1.0, np.abs(dense).max(initial=0.0))
        square = operator.out_kind(kind) == kind and operator.in_shape == operator.out_shape
        equal = square and np.abs(dense - dense.T).max(initial=0.0) <= scale
        n = int(np.prod(operator.in_shape))
        blocks = [
            dense[i : i + n, j : j + n] for i in range(0, len(dense), n or 1) for j in range(0, len(dense), n or 1)
        ]
        found["diagonal"].append(
            square and all(np.abs(b - np.diag(np.diag(b))).max(initial=0.0) <= scale for b in blocks)
        )
        found["self_adjoint"].append(equal)
        found["positive"].append(equal and np.linalg.eigvalsh(dense).min(initial=0.0) >= -scale)
        wide = dense.shape[0] == dense.shape[1]
        found["unitary"].append(wide and np.abs(dense.T @ dense - np.eye(len(dense))).max(initial=0.0) <= scale)
    for name, holds in found.items():
        assert getattr(facts, name) is not NO or not all(holds), name


@every_operator
def test_transpose_and_conjugate(operator):
    for kind in argument_kinds(operator):
        out = operator.out_kind(kind)
        dense = real_matrix(operator, kind)
        before, after = (np.ones(n) for n in dense.shape[::-1])
        for signs, of in ((before, kind), (after, out)):
            if of == "complex":
                signs[len(signs) // 2 :] = -1.0
        conjugated = after[:, None] * dense * before
        close(real_matrix(operator.conj(), kind), conjugated, 2.3e-16)
        close(real_matrix(operator.T, out), conjugated.T, 2.3e-16)


@every_operator
def test_pseudo_inverse_has_its_four_properties(operator):
    try:
        pseudo = operator.pinv()
    except (UnsupportedError, ParameterError):  # refused, which test_algebra looks at
        return
    for kind in argument_kinds(operator):
        a = real_matrix(operator, kind)
        b = real_matrix(pseudo, operator.out_kind(kind))[: a.shape[1]]
        assert b.shape == a.shape[::-1]
        limit = 1e-12 * max(1.0, np.linalg.norm(a, 2)) ** 2 * max(1.0, np.linalg.norm(b, 2)) ** 2 if a.size else 0.0
        for left, right in ((a @ b @ a, a), (b @ a @ b, b), ((a @ b).T, a @ b), ((b @ a).T, b @ a)):
            assert np.max(np.abs(left - right), initial=0.0) <= limit


@every_operator
def test_rewriting_keeps_the_operator(operator):
    mixed = [operator, operator.H, operator.gram, operator.gram + 0.5 * operator.gram, operator.cogram]
    for made in mixed:
        simple = made.simplify()
        assert (simple.in_shape, simple.out_shape) == (made.in_shape, made.out_shape)
        assert simple.simplify() is simple
        for kind in argument_kinds(made):
            before, after = real_matrix(made, kind), real_matrix(simple, kind)
            rows = min(len(before), len(after))
            close(before[:rows], after[:rows], 2.3e-16)
            assert np.max(np.abs(before[rows:]), initial=0.0) <= 1e-12 * max(1.0, np.abs(before).max())


@every_operator
def test_facts_after_rewriting_hold_too(operator):
    for made in (operator.gram.simplify(), (operator.gram + 0.5 * operator.gram).simplify()):
        for kind in argument_kinds(made):
            dense = real_matrix(made, kind)
            if made.facts.lowest is not None:
                assert number(made.facts.lowest) <= np.linalg.eigvalsh(dense)[0] + 1e-12 * max(1.0, np.abs(dense).max())
            if made.facts.norm is not None and made.facts.norm.certainty != "estimate":
                assert made.facts.norm.value >= np.linalg.norm(dense, 2) * (1 - 1e-12)


@every_operator
def test_inverse_inverts(operator):
    try:
        inverse = operator.inverse()
    except (UnsupportedError, ParameterError):  # refused, which each class's own tests look at
        return
    for kind in argument_kinds(operator):
        dense = real_matrix(operator, kind)
        back = real_matrix(inverse, operator.out_kind(kind))[: dense.shape[1]]
        limit = 1e-13 * np.linalg.norm(dense, 2) ** 2 * np.linalg.norm(back, 2)
        assert np.max(np.abs(dense @ back @ dense - dense)) <= limit
        if dense.shape[0] == dense.shape[1]:
            assert np.max(np.abs(back @ dense - np.eye(len(dense)))) <= limit


@every_operator
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_inputs_stay_and_outputs_are_fresh(operator, dtype):
    for kind in argument_kinds(operator):
        x = units(operator.in_shape, kind, dtype)
        before = x.copy()
        x.flags.writeable = False
        result = operator @ x
        assert np.array_equal(x, before)
        assert not np.shares_memory(result, x)
        assert result.dtype in (np.dtype(dtype), np.result_type(dtype, np.complex64))
        result[...] = 0
        assert np.array_equal(x, before)
        close(as_reals(operator @ x, len(x)).T, real_matrix(operator, kind, dtype=dtype), np.finfo(dtype).eps)


@every_operator
def test_wrong_arguments_are_refused(operator):
    with pytest.raises(ShapeError, match="trailing axes"):
        operator @ np.zeros((*operator.in_shape[:-1], operator.in_shape[-1] + 1))
    with pytest.raises(DtypeError, match="floating"):
        operator @ np.zeros(operator.in_shape, int)
    if operator.in_kind == "real":
        with pytest.raises(DtypeError, match="real"):
            operator @ np.zeros(operator.in_shape, complex)


@every_operator
@pytest.mark.parametrize("library", ["torch", "array_api_strict"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_other_libraries_give_the_same_numbers(operator, library, dtype):
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    for kind in argument_kinds(operator):
        for made, of in ((operator, kind), (operator.H, operator.out_kind(kind))):
            wanted = real_matrix(made, of, dtype=dtype)
            if library == "array_api_strict" and _has_sparse(made):
                with pytest.raises(UnsupportedError, match="sparse"):
                    real_matrix(made, of, library, dtype)
                continue
            found = real_matrix(made, of, library, dtype)
            assert np.max(np.abs(found - wanted), initial=0.0) <= tolerance * max(1.0, np.max(np.abs(wanted)))


def _has_sparse(operator: LinearOperator) -> bool:
    from opalg.nodes import walk

    return any(isinstance(part, ops.SparseMatrix) for part in walk(operator))


def test_dtype_of_torch_arrays_is_kept():
    lib = backend("torch", "float32")
    out = ops.Gradient((3, 4)) @ lib.asarray(np.ones((3, 4)))
    assert out.dtype == lib.dtypes["real"]
