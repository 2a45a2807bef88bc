"""NumPy: every operation a ufunc into planned memory, every sweep in blocks that stay in the cache."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from opalg.arrays.backend import Backend
from opalg.arrays.numpy_backend import add_at, add_rows
from opalg.emit.dialect import Dialect, Operand

NAMES = {"abs": "absolute", "atan": "arctan", "conj": "conjugate"}
_REDUCTIONS = {"sum": "add", "max": "maximum", "min": "minimum", "all": "logical_and", "any": "logical_or"}
_NUMBER = {"real": "float", "complex": "complex", "bool": "bool"}
_INFIX = {
    "add": "+",
    "subtract": "-",
    "multiply": "*",
    "greater": ">",
    "greater_equal": ">=",
    "less": "<",
    "less_equal": "<=",
    "logical_and": "and",
}
_FEW = 4  # sums of so few slices are quicker by additions than by a reduction

HELPERS = '''
def scalar(function, *numbers):
    """A NumPy function of numbers, as a Python number."""
    return function(*numbers).item()


def quotient(a, b):
    """a / b, with NumPy's infinities."""
    return a / b if b else np.divide(a, b).item()


def choose(mask, yes, no, out):
    """np.where into an array; numbers of four bytes by their bits, for which NumPy branches at each entry."""
    if out.dtype == np.float32:
        yes, no = np.asarray(yes, dtype=out.dtype).view(np.int32), np.asarray(no, dtype=out.dtype).view(np.int32)
        np.bitwise_xor(np.multiply(mask, np.bitwise_xor(yes, no)), no, out=out.view(np.int32))
    else:  # a third of the time of copying under a mask, whatever the mask
        np.copyto(out, np.where(mask, yes, no))
'''

PRELUDE = """from types import SimpleNamespace

import numpy as np
import scipy.fft

inf, nan = float("inf"), float("nan")
dtypes = {"real": np.REAL, "complex": np.COMPLEX, "bool": np.bool_}


def copy(x, out=None):
    if out is None:
        return np.array(x)
    np.copyto(out, x)
    return out


def zeros_like(x, shape, out=None):
    if out is None:
        return np.zeros(shape, dtype=x.dtype)
    out[...] = 0
    return out


def kind_of(x):
    return {"c": "complex", "b": "bool"}.get(x.dtype.kind, "real")


def asarray(value, kind=None):
    array = np.asarray(value)
    return array.astype(dtypes[kind or kind_of(array)], copy=False)


ADD_AT

lib = SimpleNamespace(
    xp=np,
    dtypes=dtypes,
    rfftn=lambda x, axes, norm: scipy.fft.rfftn(x, axes=axes, norm=norm, workers=-1),
    irfftn=lambda x, sizes, axes, norm: scipy.fft.irfftn(x, s=sizes, axes=axes, norm=norm, workers=-1),
    fftn=lambda x, axes, norm: scipy.fft.fftn(x, axes=axes, norm=norm, workers=-1),
    ifftn=lambda x, axes, norm: scipy.fft.ifftn(x, axes=axes, norm=norm, workers=-1),
    dctn=lambda x, axes, type: scipy.fft.dctn(x, type=type, axes=axes, norm="ortho", workers=-1),
    dstn=lambda x, axes, type: scipy.fft.dstn(x, type=type, axes=axes, norm="ortho", workers=-1),
    copy=copy,
    add=np.add,
    subtract=np.subtract,
    multiply=np.multiply,
    negative=lambda a, out=None: np.multiply(a, -1, out=out),
    matmul=np.matmul,
    empty=lambda shape, kind="real": np.empty(shape, dtype=dtypes[kind]),
    zeros=lambda shape, kind="real": np.zeros(shape, dtype=dtypes[kind]),
    empty_like=lambda x, shape, out=None: np.empty(shape, dtype=x.dtype) if out is None else out,
    zeros_like=zeros_like,
    kind_of=kind_of,
    asarray=asarray,
    sparse_matmul=lambda matrix, x: (matrix @ x.reshape(-1, x.shape[-1]).T).T.reshape(*x.shape[:-1], matrix.shape[0]),
    take=lambda x, indices, axis: np.take(x, indices, axis=axis),
    add_at=add_at,
)
"""


class NumpyDialect(Dialect):
    """Ufuncs with ``out=``, in blocks; scalars are Python numbers, which never promote float32 arrays."""

    blocked = True
    numbers = True
    prelude = (
        PRELUDE.replace("ADD_AT\n", inspect.getsource(add_at) + "\n\n" + inspect.getsource(add_rows)) + "\n" + HELPERS
    )
    library = "np"

    def namespace(self, lib: Backend) -> dict[str, Any]:
        names: dict[str, Any] = {"np": np, "lib": lib, "inf": float("inf"), "nan": float("nan")}
        exec(compile(HELPERS, "<opalg helpers>", "exec"), names)
        return names

    def fused(self, step: Callable[..., Any]) -> Callable[..., Any]:
        return step if self.blocked else super().fused(step)  # blocks go through memory once already

    def takes_number(self, function: str, position: int, operands: list[Operand]) -> bool:
        return True

    def pointwise(self, function: str, operands: list[Operand], kind: str, out: str) -> list[str]:
        texts = [o.text for o in operands]
        if function == "copy":
            return [f"{self.library}.copyto({out}, {texts[0]})"]
        if function == "where":
            condition, yes, no = texts
            if kind == "real":
                return [f"choose({condition}, {yes}, {no}, out={out})"]
            return [f"{self.library}.copyto({out}, {self.library}.where({condition}, {yes}, {no}))"]
        if function == "negative":  # NumPy 2.4 negates some pairs of strided arrays wrongly
            return [f"{self.library}.multiply({texts[0]}, -1, out={out})"]
        return [f"{self.library}.{NAMES.get(function, function)}({', '.join(texts)}, out={out})"]

    def scalar(self, function: str, operands: list[Operand], kind: str, target: str) -> str:
        texts = [o.text for o in operands]
        return f"{target} = {_scalar_text(function, texts)}"

    def reduce(self, function: str, a: str, axes: tuple[int, ...], keepdims: bool, out: str, shape: Any) -> list[str]:
        name = f"{self.library}.{_REDUCTIONS[function]}"
        if len(axes) == 1 and 2 <= shape[axes[0]] <= _FEW and function in ("sum", "max", "min"):
            lead = ":, " * axes[0]
            slices = [f"{a}[{lead}{f'{i}:{i + 1}' if keepdims else i}]" for i in range(shape[axes[0]])]
            more = [f"{name}({out}, {s}, out={out})" for s in slices[2:]]
            return [f"{name}({slices[0]}, {slices[1]}, out={out})", *more]
        over = str(axes[0]) if len(axes) == 1 else str(axes)
        return [f"{name}.reduce({a}, axis={over}, keepdims={keepdims}, out={out})"]

    def reduce_all(self, function: str, a: str, kind: str) -> str:
        return f"{_NUMBER[kind]}({self.library}.{_REDUCTIONS[function]}.reduce({a}, axis=None))"

    def gather_start(self, function: str, kind: str) -> str:
        return {"max": "-inf", "min": "inf", "all": "True", "any": "False"}.get(function, f"{_NUMBER[kind]}(0)")

    def gather_scalar(self, function: str, target: str, a: str, kind: str) -> str:
        block = self.reduce_all(function, a, kind)
        if function == "sum":
            return f"{target} += {block}"
        return f"{target} = {_NUMBER[kind]}({self.library}.{_REDUCTIONS[function]}({target}, {block}))"

    def gather_array(self, function: str, target: str, block: str) -> str:
        return f"{self.library}.{_REDUCTIONS[function]}({target}, {block}, out={target})"

    def join(self, arrays: list[str], axis: int, out: str) -> str:
        return f"{self.library}.concatenate(({', '.join(arrays)}), axis={axis}, out={out})"

    def entered_scalar(self, name: str, kind: str) -> str | None:
        return f"{name} = {_NUMBER[kind]}({name})"

    def left_scalar(self, text: str, kind: str) -> str:
        return f"{_NUMBER[kind]}({text})"


def _scalar_text(function: str, texts: list[str]) -> str:
    if function in _INFIX:
        return f"{texts[0]} {_INFIX[function]} {texts[1]}"
    match function:
        case "copy":
            return texts[0]
        case "divide":
            return f"quotient({texts[0]}, {texts[1]})"
        case "where":
            return f"{texts[1]} if {texts[0]} else {texts[2]}"
        case "negative":
            return f"-{texts[0]}"
        case "abs":
            return f"abs({texts[0]})"
        case "square":
            return f"{texts[0]} * {texts[0]}"
        case "real" | "imag":
            return f"{texts[0]}.{function}"
        case "conj":
            return f"{texts[0]}.conjugate()"
        case "logical_not":
            return f"not {texts[0]}"
    return f"scalar(np.{NAMES.get(function, function)}, {', '.join(texts)})"


DIALECT = NumpyDialect()
