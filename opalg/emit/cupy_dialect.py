"""CuPy: NumPy's ufuncs on the device, on whole arrays; scalars stay on the device as arrays without axes."""

from __future__ import annotations

import inspect
from typing import Any

import cupy

from opalg.arrays.backend import Backend
from opalg.arrays.cupy_scatter import add_at
from opalg.emit.dialect import Operand
from opalg.emit.numpy_dialect import NAMES, PRELUDE, NumpyDialect

_REDUCTIONS = {"sum": "sum", "max": "max", "min": "min", "all": "all", "any": "any"}


class CupyDialect(NumpyDialect):
    """Whole-array ufuncs into planned memory."""

    blocked = False
    numbers = False
    library = "cupy"
    prelude = (
        PRELUDE.replace("import numpy as np\nimport scipy.fft", "import cupy\nimport cupy as np")
        .replace("scipy.fft.", "cupy.fft.")
        .replace(", workers=-1", "")
        .replace("ADD_AT\n", inspect.getsource(add_at).replace("cupy.", "np."))
    )

    def namespace(self, lib: Backend) -> dict[str, Any]:
        return {"cupy": cupy, "lib": lib, "inf": float("inf"), "nan": float("nan")}

    def pointwise(self, function: str, operands: list[Operand], kind: str, out: str) -> list[str]:
        if function == "where":
            condition, yes, no = (o.text for o in operands)
            return [f"cupy.copyto({out}, cupy.where({condition}, {yes}, {no}))"]
        return super().pointwise(function, operands, kind, out)

    def scalar(self, function: str, operands: list[Operand], kind: str, target: str) -> str:
        texts = [o.text for o in operands]
        if function == "copy":
            return f"{target} = {texts[0]}"
        if function in ("real", "imag"):
            return f"{target} = {self.part(function, texts[0])}"
        return f"{target} = cupy.{NAMES.get(function, function)}({', '.join(texts)})"

    def reduce(self, function: str, a: str, axes: tuple[int, ...], keepdims: bool, out: str, shape: Any) -> list[str]:
        return [f"cupy.{_REDUCTIONS[function]}({a}, axis={axes}, keepdims={keepdims}, out={out})"]

    def reduce_all(self, function: str, a: str, kind: str) -> str:
        return f"cupy.{_REDUCTIONS[function]}({a})"

    def entered_scalar(self, name: str, kind: str) -> str | None:
        return None

    def left_scalar(self, text: str, kind: str) -> str:
        return text


DIALECT = CupyDialect()
