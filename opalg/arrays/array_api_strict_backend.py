"""The strict array-API library: stands in, in tests, for every library that keeps to the standard."""

from __future__ import annotations

from typing import Any

import array_api_strict
import numpy as np

from opalg.arrays.backend import Backend


class ArrayApiStrictBackend(Backend):
    """Arrays that refuse whatever the array-API standard does not promise."""

    name = "array_api_strict"
    xp = array_api_strict

    def find_device(self, device: Any) -> Any:
        return super().find_device(None if device == array_api_strict.Device("CPU_DEVICE") else device)

    def asarray(self, value: Any, kind: str | None = None) -> Any:
        if hasattr(value, "detach"):
            value = value.detach().cpu().numpy()
        array = value if self.owns(value) else array_api_strict.asarray(np.array(value))
        return array_api_strict.astype(array, self.dtypes[kind or self.kind_of(array)], copy=False)

    def to_numpy(self, array: Any) -> np.ndarray:
        return np.from_dlpack(array) if array.size else np.zeros(array.shape)


BACKEND = ArrayApiStrictBackend
