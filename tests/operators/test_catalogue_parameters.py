"""Operators whose data are parameters: gradients, and solves with other values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import opalg as oa
from tests.operators.catalogue_contract import LIGHTS, OPTICS, close, sample


def learnable(wrap: Callable[[Any], Any]) -> dict[str, Callable[[], Any]]:
    """Operators whose data are wrapped: as a Parameter, or as something known."""
    v = np.random.default_rng(8).standard_normal
    points = np.array([[0.3, 1.4], [1.7, 0.2], [0.6, 2.3]])
    displacement = 0.3 * v((2, 3, 3)) + 0.013
    values = {
        "filters": v((2, 2, 2)), "matrix": v((3, 4)), "u": v((4, 2)), "w": v((5, 2)), "maps": v((2, 3, 2)),
        "complex": v((2, 3, 2)) + 1j * v((2, 3, 2)), "kernel": v((3, 2)), "bank": v((3, 2, 2)),
    }  # fmt: skip
    one = {name: (lambda value=value: wrap(value)) for name, value in values.items()}
    free = {"points": points, "displacement": displacement, "entries": v(4), "diagonal": v(4) + 1j * v(4)}
    one |= {name: (lambda value=value: wrap(value)) for name, value in free.items()}
    operators: dict[str, Callable[[], Any]] = {
        f"convolve_{b}": lambda b=b: oa.Convolve(one["kernel"](), (4, 3), b)
        for b in ("periodic", "zero", "symmetric", "full")
    }
    operators |= {
        f"multi_{b}": lambda b=b: oa.MultiConvolve(one["filters"](), (4,), b, stride=2) for b in ("periodic", "reflect")
    }
    operators |= {
        f"interpolate_{b}": lambda b=b: oa.Interpolate((3, 3), one["points"](), b) for b in ("zero", "edge", "periodic")
    }
    operators |= {f"warp_{b}": lambda b=b: oa.Warp((3, 3), one["displacement"](), b) for b in ("zero", "periodic")}
    operators |= {
        "convolve_stride": lambda: oa.Convolve(one["kernel"](), (5, 4), stride=(2, 3)),
        "convolve_formula": lambda: oa.Convolve(oa.exp(-1.0 * one["kernel"]() ** 2), (4, 3)),
        "multi_plain": lambda: oa.MultiConvolve(one["bank"](), (3, 4)),
        "downsample": lambda: oa.Downsample((4, 6), 2, one["kernel"]()),
        "upsample": lambda: oa.Upsample((2, 3), 2, one["kernel"](), "edge"),
        "diagonal": lambda: oa.Diagonal(wrap(values["matrix"])),
        "diagonal_complex": lambda: oa.Diagonal(one["diagonal"]()),
        "matrix": lambda: oa.Matrix(one["matrix"]()),
        "matrix_formula": lambda: oa.Matrix(one["matrix"]() ** 2),
        "coordinates": lambda: oa.SparseMatrix.from_coordinates(one["entries"](), [0, 2, 2, 0], [1, 0, 3, 1], (3, 4)),
        "low_rank_left": lambda: oa.LowRank(one["u"](), values["w"]),
        "low_rank_right": lambda: oa.LowRank(values["u"], one["w"]()),
        "low_rank_positive": lambda: oa.LowRank(one["u"]()),
        "coils": lambda: oa.CoilSensitivities(one["maps"]()),
        "coils_complex": lambda: oa.CoilSensitivities(one["complex"](), normalise=True),
        "mri": lambda: oa.ParallelMRI(one["complex"](), np.array([[True, False], [True, True], [False, True]])),
        "scaled": lambda: wrap(0.7) * oa.Gradient((3, 2)),
        "stack": lambda: oa.vstack([oa.Matrix(one["matrix"]()), oa.Identity((4,))]),
        "block": lambda: oa.block([[oa.Matrix(one["matrix"]()), oa.Identity((3,))], [oa.Identity((4,)), None]]),
        "kron": lambda: oa.kron(oa.Matrix(one["matrix"]()), oa.Matrix(np.array([[1.0, 2.0]]))),
        "product": lambda: oa.Gradient((4, 3)) @ oa.Convolve(one["kernel"](), (4, 3)),
        "adjoint": lambda: oa.Matrix(one["matrix"]()).H,
        "depths": lambda: oa.IntensityDiffraction(
            (4, 5), wrap(np.array([-1.0, 0.7])), LIGHTS, thickness=0.7, component="phase", **OPTICS
        ),
    }
    return operators


def theta(value: Any) -> oa.Parameter:
    """The data as a Parameter."""
    return oa.Parameter(value, name="theta")


@pytest.mark.parametrize("name", learnable(theta))
def test_gradients_in_the_data_of_an_operator(name: str) -> None:
    """The solution of a ridge energy changes with the operator's data as central differences say."""
    operator = learnable(theta)[name]()
    kind = operator.out_dtype or ("complex" if "complex" in name else "real")
    x, y = (
        oa.Variable(operator.in_shape, dtype=float if kind == "real" else complex),
        sample(operator.out_shape, kind, 6),
    )
    energy = oa.sum_squares(operator @ x - y) + 0.4 * oa.sum_squares(x - sample(operator.in_shape, kind, 5))
    report = oa.testing.check_gradient(energy, directions=1)
    assert report.ok, str(report)


@pytest.mark.parametrize(
    "name",
    [
        "convolve_zero", "convolve_formula", "multi_periodic", "interpolate_edge", "warp_periodic", "diagonal_complex",
        "matrix", "coordinates", "low_rank_positive", "coils_complex", "mri", "scaled", "kron", "depths", "upsample",
    ],
)  # fmt: skip
def test_data_of_an_operator_follow_the_parameter(name: str) -> None:
    """A solve with another value of the parameter is that of the operator with these data."""
    operator = learnable(theta)[name]()
    moved = learnable(lambda value: oa.Constant(np.asarray(1.3 * value + 0.05)))[name]()
    kind = operator.out_dtype or ("complex" if "complex" in name else "real")
    x, y = (
        oa.Variable(operator.in_shape, dtype=float if kind == "real" else complex),
        sample(operator.out_shape, kind, 6),
    )
    energy = oa.sum_squares(operator @ x - y) + 0.4 * oa.sum_squares(x)
    (parameter,) = energy.parameters
    solution = oa.compile(energy).solve(params={parameter: 1.3 * parameter.value + 0.05}, tol=1e-12)
    dense = moved.to_dense()
    wanted = np.linalg.solve(dense.conj().T @ dense + 0.4 * np.eye(dense.shape[1]), dense.conj().T @ y.ravel())
    close(np.asarray(solution.x).ravel(), wanted, 1e-5)
