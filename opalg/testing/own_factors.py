"""Whether each entry of the argument or of the result of an adjoint has a factor of its own."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from opalg.testing.pair import Pair, unit
from opalg.testing.subject import Shape

_ENTRIES, _DRAWS = 6, 3
Measured = tuple[Shape, np.ndarray, np.ndarray]


def own_factors(pair: Pair, where: tuple[Shape, Shape], rng: np.random.Generator) -> str:
    """A sentence about weights, a mask or phases that are wrong in the adjoint; empty where that is not it."""
    found = _sentence(list(_at_results(pair, where[1], None, rng)), "result", pair.tolerance)
    found = found or _sentence(list(_at_arguments(pair, where[0], rng)), "argument", pair.tolerance)
    if not found and len(pair.target) > len(pair.source) and pair.target[0] > 1:
        only = np.zeros(pair.target)
        only[where[0][0]] = 1.0
        found = _sentence(list(_at_results(pair, where[1], only, rng)), "result", pair.tolerance)
        found = found and f"for component {where[0][0]} of the first axis, {found}"
    return found[:1].upper() + found[1:]


def _places(shape: Shape, first: Shape, rng: np.random.Generator) -> list[Shape]:
    drawn = (tuple(int(rng.integers(n)) for n in shape) for _ in range(_ENTRIES))
    return list(dict.fromkeys([first, *drawn]))


def _at_results(pair: Pair, first: Shape, only: np.ndarray | None, rng: np.random.Generator) -> Iterator[Measured]:
    """Entries of A.H y as they are, and as ``<A e_i, y>`` says, for a few y."""
    arguments = [pair.draw(rng)[1] * (1.0 if only is None else only) for _ in range(_DRAWS)]
    pulled = [pair.backward(y) for y in arguments]
    for place in _places(pair.source, first, rng):
        column = pair.forward(unit(pair.source, place))
        wanted = np.array([np.sum(np.conj(column) * y) for y in arguments])
        found = np.array([back[place] for back in pulled])
        yield place, found, wanted if pair.source_kind == "complex" else wanted.real


def _at_arguments(pair: Pair, first: Shape, rng: np.random.Generator) -> Iterator[Measured]:
    """``<A.H e_j, x>`` as it is, and as the entry of A x says, for a few x."""
    drawn = [pair.draw(rng)[0] for _ in range(_DRAWS)]
    images = [pair.forward(x) for x in drawn]
    both = pair.source_kind == pair.target_kind
    for place in _places(pair.target, first, rng):
        row = pair.backward(unit(pair.target, place))
        found = np.array([np.sum(np.conj(x) * row) for x in drawn])
        wanted = np.array([np.conj(image[place]) for image in images])
        yield (place, found, wanted) if both else (place, found.real, wanted.real)


def _sentence(measured: list[Measured], side: str, tolerance: float) -> str:
    """What the factors of some entries say, where there is one for each that holds whatever the argument is."""
    near = 1e3 * tolerance
    limit = near * max(float(np.abs(wanted).max()) for _, _, wanted in measured)
    unused, factors = [], []
    for place, found, wanted in measured:
        if np.abs(wanted).max() > limit:
            factor = complex(np.sum(np.conj(wanted) * found) / np.sum(np.abs(wanted) ** 2))
            if not np.abs(found - factor * wanted).max() <= limit:
                return ""
            factors.append((place, factor))
        elif np.abs(found).max() > limit:
            unused.append(place)
    wrong = [(place, factor) for place, factor in factors if abs(factor - 1) > near]
    if not wrong:
        if not (unused and factors):
            return ""
        return f"some entries of the {side} of A.H, such as {unused[0]}, do not matter to A: a mask is missing"
    place, factor = wrong[0]
    shown = f"{factor:.4g}" if abs(factor.imag) > near else f"{factor.real:.4g}"
    words = f"each entry of the {side} of A.H has a factor of its own, such as {shown} at {place}"
    if unused or any(abs(abs(f) - 1) > near for _, f in factors):
        return words + ": weights or a mask are missing, or applied twice"
    signs = all(abs(f.imag) < near for _, f in factors)
    return words + (": signs are wrong" if signs else ": of modulus 1, so weights or maps lack a conjugate")
