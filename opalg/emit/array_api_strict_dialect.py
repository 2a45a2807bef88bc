"""The array-API standard and nothing more: expressions without ``out=``, every cast written down."""

from __future__ import annotations

import inspect
from typing import Any

import array_api_strict

from opalg.arrays.backend import Backend, rounds
from opalg.emit.dialect import Dialect, Operand

_NAMES = {"power": "pow"}

_PRELUDE = """from types import SimpleNamespace

import array_api_strict as xp
import numpy as np

inf, nan = float("inf"), float("nan")
dtypes = {"real": xp.REAL, "complex": xp.COMPLEX, "bool": xp.bool}


def put(value, out=None):
    if out is None:
        return value
    out[...] = value
    return out


def kind_of(x):
    name = str(x.dtype)
    return "complex" if "complex" in name else "bool" if "bool" in name else "real"


def asarray(value, kind=None):
    array = value if type(value).__module__.startswith("array_api_strict") else xp.asarray(np.array(value))
    return xp.astype(array, dtypes[kind or kind_of(array)], copy=False)


ROUNDS

def add_at(y, indices, length, axis, repeats=True):
    padding = list(y.shape)
    padding[axis] = 1
    rows = xp.concat((y, xp.zeros(tuple(padding), dtype=y.dtype)), axis=axis)
    found = None
    for places in rounds(np.from_dlpack(indices), length):
        part = xp.take(rows, xp.asarray(places), axis=axis)
        found = part if found is None else found + part
    return found


lib = SimpleNamespace(
    xp=xp,
    dtypes=dtypes,
    rfftn=lambda x, axes, norm: xp.fft.rfftn(x, axes=axes, norm=norm),
    irfftn=lambda x, sizes, axes, norm: xp.fft.irfftn(x, s=sizes, axes=axes, norm=norm),
    fftn=lambda x, axes, norm: xp.fft.fftn(x, axes=axes, norm=norm),
    ifftn=lambda x, axes, norm: xp.fft.ifftn(x, axes=axes, norm=norm),
    copy=lambda x, out=None: put(xp.asarray(x, copy=True), out),
    add=lambda a, b, out=None: put(a + b, out),
    subtract=lambda a, b, out=None: put(a - b, out),
    multiply=lambda a, b, out=None: put(a * b, out),
    negative=lambda a, out=None: put(-a, out),
    matmul=lambda a, b, out=None: put(xp.matmul(a, b), out),
    empty=lambda shape, kind="real": xp.empty(shape, dtype=dtypes[kind]),
    zeros=lambda shape, kind="real": xp.zeros(shape, dtype=dtypes[kind]),
    empty_like=lambda x, shape, out=None: xp.empty(shape, dtype=x.dtype) if out is None else out,
    zeros_like=lambda x, shape, out=None: put(xp.zeros(shape, dtype=x.dtype), out),
    kind_of=kind_of,
    asarray=asarray,
    take=lambda x, indices, axis: xp.take(x, indices, axis=axis),
    add_at=add_at,
)
"""


class StrictDialect(Dialect):
    """A fresh array for every value."""

    in_place = False
    prelude = _PRELUDE.replace("ROUNDS\n", inspect.getsource(rounds))

    def namespace(self, lib: Backend) -> dict[str, Any]:
        return {"xp": array_api_strict, "lib": lib, "inf": float("inf"), "nan": float("nan")}

    def takes_number(self, function: str, position: int, operands: list[Operand]) -> bool:
        return False

    def part(self, function: str, text: str) -> str:
        return f"xp.{function}({text})"

    def pointwise(self, function: str, operands: list[Operand], kind: str, out: str) -> list[str]:
        return [self.scalar(function, operands, kind, out)]

    def repeat(self, operand: Operand, shape: tuple[int, ...], kind: str, out: str) -> list[str]:
        return [f"{out} = xp.asarray(xp.broadcast_to({operand.text}, {shape}), copy=True)"]

    def scalar(self, function: str, operands: list[Operand], kind: str, target: str) -> str:
        values = operands[1:] if function == "where" else operands
        common = "complex" if any(o.kind == "complex" for o in values) else values[0].kind
        texts = [o.text if o.kind == common else f'lib.asarray({o.text}, "{common}")' for o in values]
        if function == "where":
            texts.insert(0, operands[0].text)
        if function == "copy":
            return f"{target} = xp.asarray({texts[0]}, copy=True)"
        if function in ("real", "imag") and len(operands) == 1:
            return f"{target} = xp.{function}({texts[0]})"
        return f"{target} = xp.{_NAMES.get(function, function)}({', '.join(texts)})"

    def reduce(self, function: str, a: str, axes: tuple[int, ...], keepdims: bool, out: str, shape: Any) -> list[str]:
        return [f"{out} = xp.{function}({a}, axis={axes}, keepdims={keepdims})"]

    def reduce_all(self, function: str, a: str, kind: str) -> str:
        return f"xp.{function}({a})"

    def join(self, arrays: list[str], axis: int, out: str) -> str:
        return f"{out} = xp.concat(({', '.join(arrays)}), axis={axis})"


DIALECT = StrictDialect()
