"""Where an adjoint is wrong, and which mistake would explain it.

Each suspicion is put to the test: if the adjoint were corrected for it, would ``<A x, y> = <x, A.H y>`` hold? That
takes a few products, so it works at any size.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from math import prod, sqrt

import numpy as np

from opalg.testing.bends import SINGLE, in_single_precision
from opalg.testing.own_factors import own_factors
from opalg.testing.pair import Mask, Pair
from opalg.testing.subject import Shape, size_of

_MOST_COMPONENTS = 8


def likely_mistake(pair: Pair, where: tuple[Shape, Shape], rng: np.random.Generator) -> str:
    """A sentence about the mistake that explains a wrong adjoint; empty where none does."""
    pair = replace(pair, where=where)
    for suspect in (_single, _real, _conjugate, _factor, _components, _exchange, _repeats, _shift, _half, _flip):
        found = suspect(pair, rng)
        if found:
            return found
    return _one_place(pair, where, rng) or _border(pair, rng) or own_factors(pair, where, rng)


def _single(pair: Pair, rng: np.random.Generator) -> str:
    hint = in_single_precision(pair.tolerance)
    return hint if hint and replace(pair, tolerance=SINGLE / 10).fits(rng) else ""


def _real(pair: Pair, rng: np.random.Generator) -> str:
    if pair.source_kind != "complex" or np.any(pair.backward(pair.draw(rng)[1]).imag):
        return ""
    return "The result of A.H has no imaginary part, but A takes complex arrays: leave out .real or abs"


def _conjugate(pair: Pair, rng: np.random.Generator) -> str:
    if "complex" not in (pair.source_kind, pair.target_kind):
        return ""
    conjugated = pair.with_backward(lambda y: np.conj(pair.backward(np.conj(y))))
    if not conjugated.fits(rng):
        return ""
    return "A conjugate is missing: A.H is the plain transpose; conjugate the coefficients"


def _ratio(pair: Pair, rng: np.random.Generator, keep_x: Mask = None, keep_y: Mask = None) -> float:
    """By which factor the adjoint is too large, judged by the pair of arguments with the largest product."""
    best, ratio = 0.0, 0.0
    for _ in range(5):
        x, y = pair.draw(rng)
        x = x if keep_x is None else x * keep_x
        y = y if keep_y is None else y * keep_y
        left, right = pair.products(x, y)
        if abs(left) > best:
            best, ratio = abs(left), right / left
    return ratio


def _factor(pair: Pair, rng: np.random.Generator) -> str:
    ratio = _ratio(pair, rng)
    if ratio == 0 or not np.isfinite(ratio) or not pair.with_backward(lambda y: pair.backward(y) / ratio).fits(rng):
        return ""
    if abs(ratio + 1) < 1e-6:
        return "The sign is wrong: A.H is minus the adjoint"
    return f"A.H is {ratio:.6g} times the adjoint{_meaning(ratio, pair)}"


def _meaning(ratio: float, pair: Pair) -> str:
    """What a factor may stand for."""
    inputs, outputs = prod(pair.source), prod(pair.target)
    names = {inputs: "the number of inputs", outputs: "the number of outputs"}
    if inputs == outputs:
        names = {inputs: "the number of entries"}
    names.update({n: "the length of an axis" for n in (*pair.source, *pair.target) if n not in names})
    for count, name in names.items():
        for value, text in ((float(count), f"{count}"), (sqrt(count), f"the root of {count}")):
            for found, kind in ((ratio, "a sum where a mean"), (1 / ratio, "a mean where a sum")):
                if value > 2 and abs(found / value - 1) < 1e-6:
                    inverse = "1 / " if kind.startswith("a mean") else ""
                    return f", which is {inverse}{text}, {name}: {kind} was meant, or a transform without its norm?"
    return ""


def _component_masks(shape: Shape) -> list[np.ndarray]:
    masks = []
    for k in range(shape[0]):
        mask = np.zeros(shape)
        mask[k] = 1.0
        masks.append(mask)
    return masks


def _components(pair: Pair, rng: np.random.Generator) -> str:
    """Whether components on a first axis of the larger side have factors of their own."""
    many_out = len(pair.target) > len(pair.source) and 1 < pair.target[0] <= _MOST_COMPONENTS
    many_in = len(pair.source) > len(pair.target) and 1 < pair.source[0] <= _MOST_COMPONENTS
    if not (many_out or many_in):
        return ""
    masks = _component_masks(pair.target if many_out else pair.source)
    side = "keep_y" if many_out else "keep_x"
    ratios = [_ratio(pair, rng, **{side: mask}) for mask in masks]
    missing = [k for k, r in enumerate(ratios) if abs(r) < 1e-6]
    if missing:
        kept = sum((mask for k, mask in enumerate(masks) if k not in missing), np.zeros_like(masks[0]))
        found = len(missing) < len(masks) and pair.fits(rng, **{side: kept})
        return f"Of the components on the first axis, {', '.join(map(str, missing))} is missing" if found else ""
    if not all(np.isfinite(r) for r in ratios):
        return ""
    weight = sum(mask / r for mask, r in zip(masks, ratios, strict=True))

    def corrected(y: np.ndarray) -> np.ndarray:
        return pair.backward(y * weight) if many_out else weight * pair.backward(y)

    if not pair.with_backward(corrected).fits(rng):
        return ""
    wrong = [(k, r) for k, r in enumerate(ratios) if abs(r - 1) > 1e-6]
    said = ["has the wrong sign" if abs(r + 1) < 1e-6 else f"has the factor {r:.6g}" for _, r in wrong]
    return "Of the components on the first axis, " + ", ".join(
        f"{k} {s}" for (k, _), s in zip(wrong, said, strict=True)
    )


def _exchange(pair: Pair, rng: np.random.Generator) -> str:
    """Whether components or axes of equal length are exchanged."""
    if len(pair.target) > len(pair.source) and 1 < pair.target[0] <= 3:
        for order in list(itertools.permutations(range(pair.target[0])))[1:]:
            if pair.with_backward(lambda y, order=order: pair.backward(y[list(order)])).fits(rng):  # type: ignore[misc]
                return f"Components on the first axis are taken in the order {order}: axes are swapped"
    for a, b in _equal_axes(pair.source):
        if pair.with_backward(lambda y, a=a, b=b: np.swapaxes(pair.backward(y), a, b)).fits(rng):  # type: ignore[misc]
            return f"Axes {a} and {b} of the result of A.H are swapped"
    for a, b in _equal_axes(pair.target):
        if pair.with_backward(lambda y, a=a, b=b: pair.backward(np.swapaxes(y, a, b))).fits(rng):  # type: ignore[misc]
            return f"Axes {a} and {b} of the argument of A.H are swapped"
    return ""


def _equal_axes(shape: Shape) -> Iterator[tuple[int, int]]:
    return ((a, b) for a, b in itertools.combinations(range(len(shape)), 2) if shape[a] == shape[b] > 1)


def _repeats(pair: Pair, rng: np.random.Generator) -> str:
    if pair.source != pair.target or pair.source_kind != pair.target_kind:
        return ""
    _, y = pair.draw(rng)
    there, back = pair.forward(y), pair.backward(y)
    limit = 10 * pair.tolerance * pair.size * size_of(y)
    if not size_of(there - back) <= limit:
        return ""
    return "A.H repeats the forward map, but A is not self-adjoint; for a convolution, flip the kernel"


def _shift(pair: Pair, rng: np.random.Generator) -> str:
    """Whether the adjoint is off by one along an axis or along all, at least away from the border."""
    inside_x, inside_y = _inside(pair)
    if pair.fits(rng, inside_x, inside_y):
        return ""
    for step in (1, -1):
        for axes, where in _directions(pair.source):
            moved = pair.with_backward(lambda y, s=step, a=axes: np.roll(pair.backward(y), s, a))  # type: ignore[misc]
            if moved.fits(rng, inside_x, inside_y):
                return f"The result of A.H is shifted by {-step} along {where}"
        for axes, where in _directions(pair.target):
            moved = pair.with_backward(lambda y, s=step, a=axes: pair.backward(np.roll(y, s, a)))  # type: ignore[misc]
            if moved.fits(rng, inside_x, inside_y):
                return f"The argument of A.H is read with a shift by {step} along {where}"
    return ""


def _half(pair: Pair, rng: np.random.Generator) -> str:
    """Whether the adjoint is off by half of every axis, as ``fftshift`` moves an array."""
    axes = tuple(range(-min(len(pair.source), len(pair.target)), 0))
    for sign in (1, -1):
        at_result, at_argument = (
            tuple(sign * (shape[axis] // 2) for axis in axes) for shape in (pair.source, pair.target)
        )
        moved = pair.with_backward(lambda y, s=at_result: np.roll(pair.backward(y), s, axes))  # type: ignore[misc]
        if any(at_result) and moved.fits(rng):
            return "The result of A.H is shifted by half of every axis: fftshift or ifftshift is missing, or the other"
        moved = pair.with_backward(lambda y, s=at_argument: pair.backward(np.roll(y, s, axes)))  # type: ignore[misc]
        if any(at_argument) and moved.fits(rng):
            return "The argument of A.H is read shifted by half of every axis: fftshift, or ifftshift, is missing"
    return ""


def _directions(shape: Shape) -> Iterator[tuple[int | tuple[int, ...], str]]:
    """Each axis, and all together in words."""
    yield from ((axis, f"axis {axis}") for axis in range(len(shape)))
    if len(shape) > 1:
        yield tuple(range(len(shape))), "every axis"


def _flip(pair: Pair, rng: np.random.Generator) -> str:
    for axes in _axis_sets(pair.source):
        if pair.with_backward(lambda y, axes=axes: np.flip(pair.backward(y), axes)).fits(rng):  # type: ignore[misc]
            return f"The result of A.H is flipped along the axes {axes}"
    for axes in _axis_sets(pair.target):
        if pair.with_backward(lambda y, axes=axes: pair.backward(np.flip(y, axes))).fits(rng):  # type: ignore[misc]
            return f"The argument of A.H is flipped along the axes {axes}"
    return ""


def _axis_sets(shape: Shape) -> Iterator[tuple[int, ...]]:
    axes = [k for k, n in enumerate(shape) if n > 1][:4]
    return itertools.chain.from_iterable(itertools.combinations(axes, count) for count in range(1, len(axes) + 1))


def _one_place(pair: Pair, where: tuple[Shape, Shape], rng: np.random.Generator) -> str:
    masks = []
    for place, shape in zip(where, (pair.target, pair.source), strict=True):
        mask = np.ones(shape)
        mask[place] = 0.0
        masks.append(mask)
    at_output = pair.fits(rng, keep_y=masks[0])
    at_input = pair.fits(rng, keep_x=masks[1])
    if at_output and at_input:
        return "Only this one entry of the matrix is wrong"
    if at_output:
        return f"Only the output index {where[0]} is treated wrongly"
    if at_input:
        return f"Only the input index {where[1]} is treated wrongly"
    return ""


def _border(pair: Pair, rng: np.random.Generator) -> str:
    if not pair.fits(rng, *_inside(pair)):
        return ""
    ndim = min(len(pair.source), len(pair.target))
    axes = [axis for axis in range(-ndim, 0) if pair.fits(rng, *_inside(pair, (axis,)))]
    where = f" along axis {axes[0]}" if len(axes) == 1 and ndim > 1 else ""
    return f"The two agree away from the border: A and A.H do not have the same boundary condition{where}"


def _inside(pair: Pair, axes: tuple[int, ...] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Masks of the interior of both sides, along some of the axes that they share or all of them."""
    axes = tuple(range(-min(len(pair.source), len(pair.target)), 0)) if axes is None else axes
    return interior(pair.source, axes), interior(pair.target, axes)


def interior(shape: Shape, axes: tuple[int, ...]) -> np.ndarray:
    """One away from the ends of some axes and zero there: a quarter of a long axis, one entry of a short one."""
    mask = np.ones(shape)
    for axis in axes:
        n = shape[axis]
        width = max(1, n // 4) if n > 8 else 1 if n > 2 else 0
        view = np.moveaxis(mask, axis, 0)
        view[:width] = 0.0
        view[n - width :] = 0.0
    return mask
