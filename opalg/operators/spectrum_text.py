"""Spectra as short texts that name what was transformed."""

from __future__ import annotations

from typing import Any

from opalg.leaves import Constant, Leaf
from opalg.nodes import walk
from opalg.operators.cosine import DCT
from opalg.operators.fourier import FFT, RFFT
from opalg.program.expression import Apply, Expression, Literal, Pointwise
from opalg.program.linear import Window
from opalg.program.text import elided, text_of

_MOST_SPECTRUM = 58  # characters


def spectrum_text(spectrum: Expression) -> str:
    """A spectrum as a short text, in which ``RFFT k`` is the transform of a kernel ``k`` wherever that was laid."""
    texts: dict[Any, str] = {}
    for n in walk(spectrum, within=Expression):
        match n:
            case Constant(name=None):
                texts[n] = f"array of shape {n.shape}" if n is spectrum else "array"
            case Apply(operator=FFT() | RFFT() as transform, adjoint=False, argument=kernel):
                while isinstance(kernel, Apply) and not isinstance(kernel.operator, (FFT, RFFT)):
                    kernel = kernel.argument
                of = text_of(kernel, texts)
                plain = isinstance(kernel, Leaf) or kernel in texts
                texts[n] = f"{type(transform).__name__} {of if plain else f'({of})'}"
            case Apply(operator=Window()) if (even := _cosine_kernel(n)) is not None:
                of = text_of(even, texts)
                texts[n] = f"DCT {of if isinstance(even, Leaf) else f'({of})'}"
            case Pointwise(
                function="add",
                arguments=(
                    Pointwise(function="square", arguments=(Pointwise(function="real", arguments=(a,)),)),
                    Pointwise(function="square", arguments=(Pointwise(function="imag", arguments=(b,)),)),
                ),
            ) if a is b:
                texts[n] = f"|{text_of(a, texts)}|^2"
    return elided(text_of(spectrum, texts), _MOST_SPECTRUM)


def _cosine_kernel(spectrum: Expression) -> Expression | None:
    """The kernel whose even half was laid among zeros and went through a cosine transform of type 1."""
    transformed = False
    while True:
        match spectrum:
            case Apply(operator=Window(), argument=inner):
                spectrum = inner
            case Apply(operator=DCT(type=1), argument=inner):
                spectrum, transformed = inner, True
            case Pointwise(function="multiply", arguments=(Constant() | Literal(), (Apply() | Pointwise()) as inner)):
                spectrum = inner
            case _:
                return spectrum if transformed else None
