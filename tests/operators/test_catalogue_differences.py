"""Differences of the catalogue against differences of padded arrays."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

import opalg as oa
from tests.operators.catalogue_contract import Contract, Table, close

CASES = Table()
case = CASES.add
DIFFERENCE_MODES = {"periodic": "wrap", "neumann": "edge", "dirichlet": "constant"}


def difference(x: np.ndarray, axis: int, scheme: str, boundary: str) -> np.ndarray:
    """Differences by padding one entry on each side."""
    width = [(1, 1) if a == axis % x.ndim else (0, 0) for a in range(x.ndim)]
    padded = np.moveaxis(np.pad(x, width, mode=DIFFERENCE_MODES[boundary]), axis, 0)
    before, here, after = padded[:-2], padded[1:-1], padded[2:]
    result = {"forward": after - here, "backward": here - before, "central": (after - before) / 2}
    result["second"] = after - 2 * here + before
    return np.moveaxis(result[scheme], 0, axis)


def hessian(x: np.ndarray, boundary: str, axes: Any = None) -> np.ndarray:
    """The upper triangle by rows, mixed entries times the root of two."""
    axes = tuple(range(x.ndim)) if axes is None else axes
    parts = []
    for j, k in itertools.combinations_with_replacement(axes, 2):
        mixed = difference(difference(x, k, "forward", boundary), j, "forward", boundary)
        parts.append(difference(x, j, "second", boundary) if j == k else np.sqrt(2) * mixed)
    return np.stack(parts)


def symmetrized(w: np.ndarray, boundary: str, axes: Any = None) -> np.ndarray:
    """The symmetric part of the Jacobian from backward differences."""
    axes = tuple(range(w.ndim - 1)) if axes is None else axes
    parts = []
    for j, k in itertools.combinations_with_replacement(range(len(axes)), 2):
        jk = difference(w[k], axes[j], "backward", boundary)
        kj = difference(w[j], axes[k], "backward", boundary)
        parts.append(jk if j == k else (jk + kj) / np.sqrt(2))
    return np.stack(parts)


def add_differences() -> None:
    """Differences of the first and second order."""
    for scheme, boundary, shape in itertools.product(
        ("forward", "backward", "central"), DIFFERENCE_MODES, ((4, 3), (1, 2))
    ):
        for axis in range(2):
            case(
                f"difference_{scheme}_{boundary}_{'x'.join(map(str, shape))}_{axis}",
                lambda s=shape, a=axis, c=scheme, b=boundary: oa.FiniteDifference(s, a, c, b),
                lambda x, a=axis, c=scheme, b=boundary: difference(x, a, c, b),
                True,
            )
    case(
        "difference_default",
        lambda: oa.FiniteDifference((4, 2), -2),
        lambda x: difference(x, 0, "forward", "neumann"),
        True,
    )
    for boundary, shape in itertools.product(DIFFERENCE_MODES, ((4, 3), (5,), (1, 3), (2, 3, 2))):
        label = f"{boundary}_{'x'.join(map(str, shape))}"
        axes = range(len(shape))
        case(
            f"gradient_{label}",
            lambda s=shape, b=boundary: oa.Gradient(s, b),
            lambda x, a=axes, b=boundary: np.stack([difference(x, j, "forward", b) for j in a]),
            True,
        )
        case(
            f"laplacian_{label}",
            lambda s=shape, b=boundary: oa.Laplacian(s, b),
            lambda x, a=axes, b=boundary: sum(difference(x, j, "second", b) for j in a),
            True,
        )
        case(
            f"hessian_{label}",
            lambda s=shape, b=boundary: oa.Hessian(s, b),
            lambda x, b=boundary: hessian(x, b),
            boundary != "dirichlet",
        )
        case(
            f"symmetrized_{label}",
            lambda s=shape, b=boundary: oa.SymmetrizedGradient(s, b),
            lambda w, b=boundary: symmetrized(w, b),
            boundary == "periodic" or len(shape) == 1,
        )
    case(
        "gradient_axes",
        lambda: oa.Gradient((3, 2, 3), "periodic", axes=(2, 0)),
        lambda x: np.stack([difference(x, j, "forward", "periodic") for j in (2, 0)]),
        True,
    )
    case("laplacian_axes", lambda: oa.Laplacian((3, 4), axes=-1), lambda x: difference(x, 1, "second", "neumann"), True)
    case("hessian_axes", lambda: oa.Hessian((3, 2, 3), axes=(0, 2)), lambda x: hessian(x, "neumann", (0, 2)), True)
    case(
        "symmetrized_axes",
        lambda: oa.SymmetrizedGradient((3, 2, 3), axes=(0, 2)),
        lambda w: symmetrized(w, "neumann", (0, 2)),
    )
    case(
        "power_difference",
        lambda: oa.FiniteDifference((5,), 0, "central", "dirichlet") ** 2,
        lambda x: difference(difference(x, 0, "central", "dirichlet"), 0, "central", "dirichlet"),
    )


add_differences()


class TestDifferences(Contract):
    """What holds for every case of this file."""

    cases = CASES


def test_divergence_is_minus_the_adjoint_of_the_gradient() -> None:
    """It takes the shape of the image."""
    for boundary, axes in itertools.product(DIFFERENCE_MODES, (None, (1,))):
        gradient, divergence = oa.Gradient((4, 3), boundary, axes), oa.Divergence((4, 3), boundary, axes)
        assert (divergence.in_shape, divergence.out_shape) == (gradient.out_shape, (4, 3))
        close(divergence.to_dense(), -gradient.to_dense().T, 1e-14)
