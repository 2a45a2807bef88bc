"""Filter banks against single convolutions, Torch's own convolution and dense matrices."""

from __future__ import annotations

import numpy as np
import pytest

from opalg.errors import ShapeError, UnsupportedError
from opalg.facts import YES
from opalg.leaves import Parameter
from opalg.nodes import walk
from opalg.operators import RFFT, Convolve, DiagonalIn
from opalg.operators.circular import BOUNDARIES
from opalg.operators.fourier import InverseRFFT
from opalg.operators.multi_convolution import MultiConvolve
from opalg.operators.round_trip import FromSpectrum
from opalg.program.expression import Apply, Input
from opalg.program.interpreter import number
from tests.operators.dense import check_parameter_gradient, random_array, real_matrix

every_boundary = pytest.mark.parametrize("boundary", BOUNDARIES)


def channel_by_channel(filters, x, groups, **options):
    """The sum of single convolutions; filters of shape ``(out, in // groups, *size)``."""
    outputs, inputs = filters.shape[0] // groups, filters.shape[1]
    results = []
    for a in range(filters.shape[0]):
        first = (a // outputs) * inputs
        parts = (Convolve(filters[a, c], x.shape[1:], **options) @ x[first + c] for c in range(inputs))
        results.append(sum(parts))
    return np.stack(results)


@every_boundary
@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize(("outputs", "inputs", "groups"), [(3, 1, 1), (1, 2, 1), (3, 2, 1), (4, 2, 2), (3, 1, 3)])
def test_sum_of_single_convolutions(rng, boundary, kind, outputs, inputs, groups):
    for shape, size, origin, stride in (((4, 3), (2, 3), "center", 1), ((5,), (2,), (1,), 2)):
        filters = random_array(rng, (outputs, inputs, *size), kind)
        x = random_array(rng, (inputs * groups, *shape), kind)
        options = {"boundary": boundary, "origin": origin, "stride": stride}
        made = MultiConvolve(filters, shape, groups=groups, **options)
        wanted = channel_by_channel(filters, x, groups, **options)
        assert made.out_shape == wanted.shape
        assert np.allclose(made @ x, wanted)
        assert np.allclose(real_matrix(made.H, kind), real_matrix(made, kind).T, atol=1e-14)


@every_boundary
def test_images_without_channels(rng, boundary):
    filters, x = rng.standard_normal((3, 2, 3)), rng.standard_normal((4, 5))
    made = MultiConvolve(filters, (4, 5), boundary)
    with_axis = MultiConvolve(filters[:, None], (4, 5), boundary)
    assert (made.in_shape, with_axis.in_shape) == ((4, 5), (1, 4, 5))
    assert np.allclose(made @ x, np.stack([Convolve(k, (4, 5), boundary) @ x for k in filters]))
    assert np.allclose(made @ x, with_axis @ x[None])
    y = rng.standard_normal((2, *made.out_shape))
    assert np.allclose(made.H @ y, (with_axis.H @ y)[:, 0])


@pytest.mark.parametrize("groups", [1, 2])
def test_torch_agrees(rng, groups):
    import torch

    filters, x = rng.standard_normal((4, 4 // groups, 3, 2)), rng.standard_normal((4, 6, 5))
    flipped = torch.tensor(filters[..., ::-1, ::-1].copy())
    wanted = torch.nn.functional.conv2d(torch.tensor(x)[None], flipped, groups=groups, stride=(2, 1))[0].numpy()
    assert np.allclose(MultiConvolve(filters, (6, 5), "valid", groups=groups, stride=(2, 1)) @ x, wanted)


@every_boundary
@pytest.mark.parametrize(("size", "groups"), [((3, 2), 1), ((2, 2, 2), 1), ((4, 1, 2), 2)])
@pytest.mark.parametrize("complex_data", [False, True])
def test_gradient_in_the_filters(rng, boundary, size, groups, complex_data):
    filters = Parameter(rng.standard_normal(size) * (1 + 1j if complex_data else 1), name="filters")
    for stride in (1, 2):
        made = MultiConvolve(filters, (3,), boundary, stride=stride, groups=groups)
        check_parameter_gradient(made, filters, rng)
        check_parameter_gradient(made.H, filters, rng)


def test_gradient_in_a_formula_of_filters(rng):
    weights = Parameter(rng.standard_normal((3, 1, 1)), name="weights")
    basis = Parameter(rng.standard_normal((3, 2, 2)), name="basis")
    made = MultiConvolve(weights * basis, (3, 4), "symmetric")
    check_parameter_gradient(made, weights, rng)
    check_parameter_gradient(made.gram, basis, rng)


def test_one_transform_for_each_channel():
    made = MultiConvolve(np.ones((5, 3, 2, 2)), (4, 4))
    for x, trace in (
        (Input("x", (3, 4, 4)), made.by_transforms),
        (Input("y", (5, 4, 4)), made.adjoint_by_transforms),
    ):
        applied = [n for n in walk(trace(x)) if isinstance(n, Apply) and x in set(walk(n))]
        forward = [n.argument.shape for n in applied if isinstance(n.operator, RFFT)]
        back = [n.shape for n in applied if isinstance(n.operator, FromSpectrum | InverseRFFT)]
        assert forward == [x.shape]
        assert back == [(8 - x.shape[0], 4, 4)]


@every_boundary
@pytest.mark.parametrize(("size", "groups"), [((3, 1, 3), 1), ((1, 3, 2), 1), ((3, 2, 2), 1), ((4, 2, 3), 2)])
def test_norm_bounds(rng, boundary, size, groups):
    values = rng.standard_normal(size)
    for filters in (values, Parameter(values), values * 1j, np.abs(values)):
        for stride in (1, 2):
            made = MultiConvolve(filters, (4,), boundary, stride=stride, groups=groups)
            kind = "complex" if made.in_kind == "complex" else "real"
            norm, bound = np.linalg.norm(real_matrix(made, kind), 2), made.norm_bound()
            assert norm <= bound.value * (1 + 1e-13)
            assert bound.value <= 2.5 * norm
            sharp = boundary == "periodic" and stride == 1
            sharp = sharp and (1 in (size[1], size[0] // groups) or not isinstance(filters, Parameter))
            assert bound.certainty == ("exact" if sharp else "upper")
            if sharp:
                assert bound.value == pytest.approx(norm)


def test_bound_follows_the_parameter(rng):
    filters = Parameter(rng.standard_normal((2, 2, 3)), name="filters")
    bound = MultiConvolve(filters, (4,)).norm_bound()
    moved = rng.standard_normal((2, 2, 3))
    wanted = np.linalg.norm(real_matrix(MultiConvolve(moved, (4,)), "real"), 2)
    found = number(bound.expression, None, {filters: moved})
    assert wanted <= found <= np.sqrt(2) * wanted * (1 + 1e-12)


def test_large_banks_are_bounded_from_above(rng):
    made = MultiConvolve(rng.standard_normal((8, 8, 3, 3)), (64, 64))
    assert made.norm_bound().certainty == "upper"


@pytest.mark.parametrize("complex_data", [False, True])
@pytest.mark.parametrize(("size", "groups"), [((3, 2, 2), 1), ((3, 1, 2, 2), 1), ((4, 1, 2, 2), 2), ((2, 1, 3, 1), 2)])
def test_gram_of_one_channel_is_diagonal(rng, complex_data, size, groups):
    filters = Parameter(rng.standard_normal(size) * (1 + 1j if complex_data else 1), name="filters")
    made = MultiConvolve(filters, (3, 4), groups=groups)
    simple, kind = made.gram.simplify(), "complex" if complex_data else "real"
    assert isinstance(simple, DiagonalIn)
    assert simple.facts.positive is YES
    assert np.allclose(real_matrix(simple, kind), real_matrix(made.gram, kind), atol=1e-13)
    assert simple.norm_bound().value == pytest.approx(made.norm_bound().value ** 2)
    check_parameter_gradient(simple, filters, rng)


@pytest.mark.parametrize(("size", "groups"), [((1, 3, 2, 2), 1), ((2, 2, 2, 2), 2)])
def test_cogram_of_one_result_is_diagonal(rng, size, groups):
    made = MultiConvolve(rng.standard_normal(size), (3, 4), groups=groups)
    simple = made.cogram.simplify()
    assert isinstance(simple, DiagonalIn)
    assert np.allclose(real_matrix(simple, "real"), real_matrix(made.cogram, "real"), atol=1e-13)


def test_other_grams_stay(rng):
    for made in (
        MultiConvolve(rng.standard_normal((2, 2, 2)), (4,)),
        MultiConvolve(rng.standard_normal((2, 1, 2)), (4,), "zero"),
        MultiConvolve(rng.standard_normal((2, 1, 2)), (4,), stride=2),
    ):
        assert made.gram.simplify() is made.gram


def test_misuse_is_explained():
    with pytest.raises(ShapeError, match="out_channels"):
        MultiConvolve(np.ones((3, 3)), (4, 4))
    with pytest.raises(ShapeError, match="groups"):
        MultiConvolve(np.ones((3, 1, 2)), (4,), groups=2)
    with pytest.raises(ShapeError, match="axis"):
        MultiConvolve(np.ones((4, 2)), (4,), groups=2)
    with pytest.raises(ShapeError, match="no larger"):
        MultiConvolve(np.ones((2, 1, 5)), (4,), "valid")
    with pytest.raises(ShapeError, match="stride"):
        MultiConvolve(np.ones((2, 1, 3)), (4,), stride=0)
    with pytest.raises(UnsupportedError, match="periodic"):
        MultiConvolve(np.ones((2, 1, 3)), (4,), "same")
