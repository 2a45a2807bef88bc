"""Torch: functions with ``out=`` on whole tensors; scalars stay on the device as tensors without axes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch

from opalg.arrays.backend import Backend
from opalg.arrays.torch_backend import add_at, correlate
from opalg.emit.dialect import Dialect, Operand

_NAMES = {
    "subtract": "sub",
    "multiply": "mul",
    "divide": "div",
    "negative": "neg",
    "conj": "conj_physical",
    "greater": "gt",
    "greater_equal": "ge",
    "less": "lt",
    "less_equal": "le",
    "power": "pow",
}
_REDUCTIONS = {"max": "amax", "min": "amin"}
_NUMBER_SECOND = ("add", "subtract", "multiply", "divide", "greater", "greater_equal", "less", "less_equal", "power")
_SWAPPED = {
    "add": "add",
    "multiply": "multiply",
    "greater": "less",
    "greater_equal": "less_equal",
    "less": "greater",
    "less_equal": "greater_equal",
}

_PRELUDE = """from types import SimpleNamespace

import torch

inf, nan = float("inf"), float("nan")
device = "DEVICE"
dtypes = {"real": torch.REAL, "complex": torch.COMPLEX, "bool": torch.bool}


def kind_of(x):
    return "complex" if x.is_complex() else "bool" if x.dtype == torch.bool else "real"


def asarray(value, kind=None):
    tensor = torch.as_tensor(value)
    return tensor.to(device=device, dtype=dtypes[kind or kind_of(tensor)])


def zeros_like(x, shape, out=None):
    return torch.zeros(shape, dtype=x.dtype, device=x.device) if out is None else out.zero_()


ADD_AT

CORRELATE

lib = SimpleNamespace(
    xp=torch,
    dtypes=dtypes,
    rfftn=lambda x, axes, norm: torch.fft.rfftn(x, dim=axes, norm=norm),
    irfftn=lambda x, sizes, axes, norm: torch.fft.irfftn(x, s=sizes, dim=axes, norm=norm),
    fftn=lambda x, axes, norm: torch.fft.fftn(x, dim=axes, norm=norm),
    ifftn=lambda x, axes, norm: torch.fft.ifftn(x, dim=axes, norm=norm),
    copy=lambda x, out=None: x.clone(memory_format=torch.contiguous_format) if out is None else out.copy_(x),
    add=torch.add,
    subtract=torch.sub,
    multiply=torch.mul,
    negative=torch.neg,
    matmul=torch.matmul,
    empty=lambda shape, kind="real": torch.empty(shape, dtype=dtypes[kind], device=device),
    zeros=lambda shape, kind="real": torch.zeros(shape, dtype=dtypes[kind], device=device),
    empty_like=lambda x, shape, out=None: torch.empty(shape, dtype=x.dtype, device=x.device) if out is None else out,
    zeros_like=zeros_like,
    kind_of=kind_of,
    asarray=asarray,
    sparse_matmul=lambda matrix, x: (matrix @ x.reshape(-1, x.shape[-1]).T).T.reshape(*x.shape[:-1], matrix.shape[0]),
    take=lambda x, indices, axis: torch.index_select(x, axis, indices),
    add_at=add_at,
    correlate=correlate,
)
"""


class TorchDialect(Dialect):
    """Whole-tensor functions into planned memory."""

    makes_results = True
    prelude = _PRELUDE.replace("ADD_AT\n", inspect.getsource(add_at)).replace(
        "CORRELATE\n", inspect.getsource(correlate)
    )

    def namespace(self, lib: Backend) -> dict[str, Any]:
        return {"torch": torch, "lib": lib, "inf": float("inf"), "nan": float("nan")}

    def fused(self, step: Callable[..., Any]) -> Callable[..., Any]:
        compiled: Callable[..., Any] = torch.compile(step, dynamic=False)
        return compiled

    def takes_number(self, function: str, position: int, operands: list[Operand]) -> bool:
        if function == "copy" or (position == 1 and function in _NUMBER_SECOND):
            return True
        return position == 0 and (function in _SWAPPED or function == "power")

    def pointwise(self, function: str, operands: list[Operand], kind: str, out: str) -> list[str]:
        if function == "copy":
            if out[0] == "o" and operands[0].value is None and operands[0].kind == kind:
                return [f"lib.copy({operands[0].text}, out={out})"]
            fill = "copy_" if operands[0].value is None else "fill_"
            return [f"{out}.{fill}({operands[0].text})"]
        return [self._call(function, operands, f", out={out}")]

    def repeat(self, operand: Operand, shape: tuple[int, ...], kind: str, out: str) -> list[str]:
        if operand.value is None:
            operand = Operand(f"{operand.text}.expand({shape})", operand.kind)
        return self.pointwise("copy", [operand], kind, out)

    def scalar(self, function: str, operands: list[Operand], kind: str, target: str) -> str:
        if function in ("real", "imag", "copy"):
            text = operands[0].text
            return f"{target} = {text if function == 'copy' else self.part(function, text)}"
        return f"{target} = {self._call(function, operands, '')}"

    def _call(self, function: str, operands: list[Operand], ending: str) -> str:
        if operands[0].value is not None and function in _SWAPPED:
            function, operands = _SWAPPED[function], operands[::-1]
        name = "sgn" if function == "sign" and operands[0].kind == "complex" else _NAMES.get(function, function)
        return f"torch.{name}({', '.join(o.text for o in operands)}{ending})"

    def reduce(self, function: str, a: str, axes: tuple[int, ...], keepdims: bool, out: str, shape: Any) -> list[str]:
        if function in ("all", "any"):
            if len(axes) > 1:
                return [f"torch.{function}({a}, dim={axes}, keepdim={keepdims}, out={out})"]
            return [f"torch.{function}({a}, dim={axes[0]}, keepdim={keepdims}, out={out})"]
        return [f"torch.{_REDUCTIONS.get(function, function)}({a}, dim={axes}, keepdim={keepdims}, out={out})"]

    def reduce_all(self, function: str, a: str, kind: str) -> str:
        return f"torch.{_REDUCTIONS.get(function, function)}({a})"

    def join(self, arrays: list[str], axis: int, out: str) -> str:
        return f"torch.cat(({', '.join(arrays)}), dim={axis}, out={out})"


DIALECT = TorchDialect()
