"""Operators that move, pick, weight, sum or subtract entries, beside the same on NumPy and on Torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse
from by_hand import Hand
from operator_table import CASES, Build, Case, Map, case, generator

import opalg as oa

# Entries moved and picked.


@case("Identity")
def _(h: Hand, n: int) -> Case:
    return Case(oa.Identity((n, n)), [h.copy], [h.copy])


@case("Reshape")
def _(h: Hand, n: int) -> Case:
    def back(y: Any) -> Any:
        return h.copy(y.reshape(n, n))

    return Case(oa.Reshape((n, n), (n * n,)), [lambda x: h.copy(x).reshape(-1)], [back])


@case("Transpose")
def _(h: Hand, n: int) -> Case:
    return Case(oa.Transpose((n, n)), [lambda x: h.packed(x.T)], [lambda x: h.packed(x.T)])


@case("Flip")
def _(h: Hand, n: int) -> Case:
    ways = [lambda x: h.packed(h.flip(x, (0, 1)))]
    return Case(oa.Flip((n, n)), ways, ways)


@case("Roll")
def _(h: Hand, n: int) -> Case:
    a, b = n // 3, n // 4
    return Case(oa.Roll((n, n), (a, b)), [lambda x: h.roll(x, (a, b))], [lambda x: h.roll(x, (-a, -b))])


@case("Slice step 2")
def _(h: Hand, n: int) -> Case:
    step = slice(None, None, 2)

    def back(y: Any) -> Any:
        out = h.zeros((n, n))
        out[::2, ::2] = y
        return out

    return Case(oa.Slice((n, n), (step, step)), [lambda x: h.packed(x[::2, ::2])], [back])


@case("Crop")
def _(h: Hand, n: int) -> Case:
    a, b = n // 8, n - n // 8

    def back(y: Any) -> Any:
        out = h.zeros((n, n))
        out[a:b, a:b] = y
        return out

    return Case(oa.Crop((n, n), (a, a), (b, b)), [lambda x: h.packed(x[a:b, a:b])], [back])


@case("Mask")
def _(h: Hand, n: int) -> Case:
    mask = generator().random((n, n)) < 0.4
    on, ones, zero = h.flags(mask), h.array(mask.astype(float)), h.zeros(())
    ways: list[Map] = [lambda x: x * ones, lambda x: h.where(on, x, zero), lambda x: x * on]
    return Case(oa.Mask(mask), ways, ways)


@case("Restrict")
def _(h: Hand, n: int) -> Case:
    mask = generator().random((n, n)) < 0.4
    on, positions = h.flags(mask), h.positions(np.flatnonzero(mask))

    def by_mask(y: Any) -> Any:
        out = h.zeros((n, n))
        out[on] = y
        return out

    def by_positions(y: Any) -> Any:
        out = h.zeros((n * n,))
        out[positions] = y
        return out.reshape(n, n)

    ways = [lambda x: x[on], lambda x: x.reshape(-1)[positions], lambda x: h.take(x.reshape(-1), positions, 0)]
    return Case(oa.Restrict(mask), ways, [by_mask, by_positions])


@case("Gather axis 0")
def _(h: Hand, n: int) -> Case:
    return gathered(h, n, 0)


@case("Gather axis 1")
def _(h: Hand, n: int) -> Case:
    return gathered(h, n, 1)


def gathered(h: Hand, n: int, axis: int) -> Case:
    """Half as many entries of an axis as there are, some of them several times."""
    chosen = generator().integers(0, n, n // 2)
    at = h.positions(chosen)
    counting = np.zeros((n, n // 2))
    counting[chosen, np.arange(n // 2)] = 1.0
    sums = h.sparse(scipy.sparse.csr_array(counting))
    ways = [lambda x: h.take(x, at, axis), lambda x: x[at] if axis == 0 else x[:, at]]
    back: list[Map] = [lambda y: h.add_at((n, n), at, y, axis)]
    back.append((lambda y: sums @ y) if axis == 0 else (lambda y: (sums @ y.T).T))
    return Case(oa.Gather((n, n), chosen, axis), ways, back)


@case("Permutation")
def _(h: Hand, n: int) -> Case:
    order = generator().permutation(n * n)
    at, back = h.positions(order), h.positions(np.argsort(order))
    return Case(oa.Permutation(order), [lambda x: h.take(x, at, 0)], [lambda x: h.take(x, back, 0)])


def padding(boundary: str) -> Build:
    """Padding by 16 entries, 2 for small images."""

    def build(h: Hand, n: int) -> Case:
        w = 16 if n > 64 else 2
        return Case(oa.Pad((n, n), w, boundary), h.paddings(n, w, boundary), [lambda y: h.unpad(y, w, boundary)])

    return build


for _boundary in ("zero", "periodic", "reflect", "symmetric", "edge"):
    CASES[f"Pad {_boundary}"] = padding(_boundary)


# Reductions.


@case("Sum all")
def _(h: Hand, n: int) -> Case:
    return Case(oa.Sum((n, n)), [lambda x: x.sum()], [lambda y: h.packed(h.repeated(y, (n, n)))])


@case("Sum axis 0")
def _(h: Hand, n: int) -> Case:
    return Case(oa.Sum((n, n), 0), [lambda x: x.sum(0)], [lambda y: h.packed(h.repeated(y, (n, n)))])


@case("Sum axis 1")
def _(h: Hand, n: int) -> Case:
    return Case(oa.Sum((n, n), 1), [lambda x: x.sum(1)], [lambda y: h.packed(h.repeated(y[:, None], (n, n)))])


@case("Mean axis 0")
def _(h: Hand, n: int) -> Case:
    return Case(oa.Mean((n, n), 0), [lambda x: x.mean(0)], [lambda y: h.packed(h.repeated(y / n, (n, n)))])


@case("CumulativeSum")
def _(h: Hand, n: int) -> Case:
    def back(y: Any) -> Any:
        return h.packed(h.flip(h.flip(y, (1,)).cumsum(1), (1,)))

    return Case(oa.CumulativeSum((n, n)), [lambda x: x.cumsum(1)], [back])


# Pointwise.


@case("Diagonal")
def _(h: Hand, n: int) -> Case:
    d = generator().random((n, n)) + 0.5
    on = h.array(d)
    return Case(oa.Diagonal(d), [lambda x: on * x], [lambda x: on * x])


@case("Real")
def _(h: Hand, n: int) -> Case:
    return Case(oa.Real((n, n)), [lambda x: h.packed(x.real)], [lambda y: h.as_complex(y)], "complex")


@case("Conj")
def _(h: Hand, n: int) -> Case:
    return Case(oa.Conj((n, n)), [h.conj], [h.conj], "complex")


@case("CoilSensitivities 8")
def _(h: Hand, n: int) -> Case:
    maps = coil_maps(n)
    on = h.array(maps)
    conjugate = h.array(maps.conj())
    operator = oa.CoilSensitivities(maps)
    return Case(
        operator, [lambda x: on * x], [lambda y: (conjugate * y).sum(0), lambda y: combined(on, y, h)], "complex"
    )


def combined(maps: Any, images: Any, h: Hand) -> Any:
    """``sum_c conj(s_c) y_c`` by one contraction."""
    return h.einsum("cij,cij->ij", h.conj(maps), images)


def coil_maps(n: int) -> np.ndarray:
    """Eight complex maps."""
    rng = generator()
    return rng.standard_normal((8, n, n)) + 1j * rng.standard_normal((8, n, n))


@case("ParallelMRI 8")
def _(h: Hand, n: int) -> Case:
    maps, mask = coil_maps(n), generator().random((n, n)) < 0.4
    on, ones, conjugate = h.array(maps), h.array(mask.astype(float)), h.array(maps.conj())
    operator = oa.ParallelMRI(maps, mask, centered=False)
    return Case(
        operator,
        [lambda x: ones * h.fft(on * x)],
        [lambda y: (conjugate * h.ifft(ones * y)).sum(0)],
        "complex",
    )


@case("ParallelMRI 8 gram")
def _(h: Hand, n: int) -> Case:
    maps, mask = coil_maps(n), generator().random((n, n)) < 0.4
    on, ones, conjugate = h.array(maps), h.array(mask.astype(float)), h.array(maps.conj())
    operator = oa.ParallelMRI(maps, mask, centered=False)
    return Case(operator.gram, [lambda x: (conjugate * h.ifft(ones * h.fft(on * x))).sum(0)], [], "complex")


# Differences.


def differences(axis: int, boundary: str, scheme: str = "forward") -> Build:
    """A difference along one axis."""

    def build(h: Hand, n: int) -> Case:
        operator = oa.FiniteDifference((n, n), axis, scheme, boundary)
        if scheme == "central":
            return Case(operator, [lambda x: h.central(x, axis)], [lambda y: -h.central(y, axis)])
        forward = [lambda x: h.difference(x, axis, boundary, h.empty((n, n)))]
        return Case(operator, forward, [lambda y: h.adjoint_difference(y, axis, boundary, h.empty((n, n)))])

    return build


def gradients(boundary: str) -> Build:
    """A gradient by slices, each component written where it belongs."""

    def build(h: Hand, n: int) -> Case:
        def forward(x: Any) -> Any:
            out = h.empty((2, n, n))
            h.difference(x, 0, boundary, out[0])
            h.difference(x, 1, boundary, out[1])
            return out

        def back(y: Any) -> Any:
            out = h.adjoint_difference(y[0], 0, boundary, h.empty((n, n)))
            return h.add_adjoint_difference(y[1], 1, boundary, out)

        return Case(oa.Gradient((n, n), boundary), [forward], [back])

    return build


for _axis in (0, 1):
    CASES[f"FiniteDifference {_axis}"] = differences(_axis, "neumann")
CASES["FiniteDifference 1 periodic"] = differences(1, "periodic")
CASES["FiniteDifference 1 central"] = differences(1, "periodic", "central")
for _boundary in ("neumann", "periodic", "dirichlet"):
    CASES[f"Gradient {_boundary}"] = gradients(_boundary)


@case("Laplacian neumann")
def _(h: Hand, n: int) -> Case:
    return Case(oa.Laplacian((n, n)), [lambda x: h.laplacian(x, (0, 1), h.empty((n, n)))])


@case("Hessian neumann")
def _(h: Hand, n: int) -> Case:
    def forward(x: Any) -> Any:
        out = h.empty((3, n, n))
        h.laplacian(x, (0,), out[0])
        h.difference(h.difference(x, 1, "neumann", h.empty((n, n))), 0, "neumann", out[1])
        out[1] *= 2**0.5
        h.laplacian(x, (1,), out[2])
        return out

    return Case(oa.Hessian((n, n)), [forward])
