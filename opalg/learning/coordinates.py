"""Parameters as one vector that an outer search moves: logarithms where they are positive, and bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

import numpy as np

from opalg.arrays import Backend, library_name
from opalg.errors import ParameterError, UnsupportedError
from opalg.leaves import Parameter

SCALES = ("log", "linear")
CLOSEST = 1e-8  # a positive parameter in linear scale comes no closer to zero than this part of its start


class Coordinates:
    """Parameters as one vector that is zero at their starts and of size one where they have moved by their own size.

    Parameters
    ----------
    parameters : sequence of Parameter
        The parameters of the energy.
    wrt : Parameter or sequence of Parameter
        Those that move.
    lib : Backend
        Where their values live.
    scale : {"log", "linear"}
        How parameters declared positive or nonnegative move; the others move linearly.
    bounds : mapping from Parameter to (lower, upper), optional
        In units of the parameter; None for an infinite end. A positive or nonnegative parameter in linear scale has its
        lower bound anyway.

    Raises
    ------
    ParameterError
        Where a parameter is not in the energy, starts at zero in log scale or outside its bounds, or bounds make no
        sense.
    UnsupportedError
        For a complex parameter.
    """

    def __init__(
        self,
        parameters: Sequence[Parameter],
        wrt: Any,
        lib: Backend,
        scale: str = "log",
        bounds: Mapping[Any, Any] | None = None,
    ) -> None:
        if scale not in SCALES:
            raise ParameterError(f'scale must be "log" or "linear", not {scale!r}')
        self.parameters = list(wrt) if isinstance(wrt, (tuple, list)) else [wrt]
        if not self.parameters:
            raise ParameterError("wrt names no parameter to tune")
        self._log = {p: scale == "log" and (p.positive or p.nonneg) for p in self._known(parameters)}
        self.starts = [self._start(p, lib) for p in self.parameters]
        self.sizes = [float(np.abs(s).max(initial=0.0)) or 1.0 for s in self.starts]
        self.lower, self.upper = self._bounds(dict(bounds or {}))

    def _known(self, parameters: Sequence[Parameter]) -> list[Parameter]:
        for wanted in self.parameters:
            if not any(wanted is p for p in parameters):
                known = ", ".join(p.label for p in parameters) or "none"
                raise ParameterError(f"wrt holds {wanted!r}, but the parameters of the energy are {known}")
            if wanted.kind != "real":
                raise UnsupportedError(f"tune moves real parameters; {wanted.label} is {wanted.kind}")
        return self.parameters

    def _start(self, parameter: Parameter, lib: Backend) -> np.ndarray:
        start = to_host(parameter.value, lib)
        if self._log[parameter] and not (start > 0).all():
            raise ParameterError(f"{parameter.label} moves in log scale, so it must start above zero")
        return start

    def _bounds(self, given: dict[Any, Any]) -> tuple[np.ndarray, np.ndarray]:
        lower, upper = [], []
        for parameter, start, size in zip(self.parameters, self.starts, self.sizes, strict=True):
            lowest, highest = _pair(given.pop(parameter, given.pop(parameter.name, (None, None))), parameter)
            if (parameter.positive or parameter.nonneg) and not self._log[parameter]:
                lowest = max(lowest, CLOSEST * size if parameter.positive else 0.0)
            if not (lowest < highest and (start >= lowest).all() and (start <= highest).all()):
                raise ParameterError(
                    f"{parameter.label} must start within its bounds, [{lowest:g}, {highest:g}]; its start reaches "
                    f"from {start.min():g} to {start.max():g}"
                )
            if self._log[parameter]:
                with np.errstate(divide="ignore"):
                    ends = np.log(max(lowest, 0.0)) - np.log(start), np.log(highest) - np.log(start)
            else:
                ends = (lowest - start) / size, (highest - start) / size
            lower.append(np.ravel(ends[0]))
            upper.append(np.ravel(ends[1]))
        if given:
            raise ParameterError(f"bounds are given for {next(iter(given))!r}, which wrt does not hold")
        return np.concatenate(lower), np.concatenate(upper)

    @property
    def bounded(self) -> bool:
        """Whether any coordinate has a finite bound."""
        return bool(np.isfinite(self.lower).any() or np.isfinite(self.upper).any())

    @property
    def blocks(self) -> list[int]:
        """The number of entries of each parameter."""
        return [start.size for start in self.starts]

    def project(self, vector: np.ndarray) -> np.ndarray:
        """The nearest vector within the bounds."""
        return np.clip(vector, self.lower, self.upper)

    def values(self, vector: np.ndarray) -> dict[Parameter, Any]:
        """The parameters at a vector."""
        out: dict[Parameter, Any] = {}
        ends = np.cumsum(self.blocks)[:-1]
        parts = np.split(np.asarray(vector, dtype=float), ends)
        for parameter, start, size, part in zip(self.parameters, self.starts, self.sizes, parts, strict=True):
            moved = part.reshape(start.shape)
            found = start * np.exp(moved) if self._log[parameter] else start + size * moved
            out[parameter] = float(found) if found.shape == () else found
        return out

    def slope(self, values: Mapping[Parameter, Any], gradients: Mapping[Parameter, Any]) -> np.ndarray:
        """The gradient in the vector from that in the parameters."""
        units = self._units(values)
        parts = [np.ravel(units[p] * np.asarray(gradients[p], dtype=float)) for p in self.parameters]
        return np.concatenate(parts)

    def slope_error(self, values: Mapping[Parameter, Any], errors: Mapping[Parameter, float]) -> float:
        """The error of `slope`, Euclidean, from that of the gradient in each parameter."""
        units = self._units(values)
        return float(np.linalg.norm([np.max(np.abs(units[p]), initial=0.0) * errors[p] for p in self.parameters]))

    def _units(self, values: Mapping[Parameter, Any]) -> dict[Parameter, Any]:
        """By how much each parameter moves when its coordinates move by one."""
        return {p: values[p] if self._log[p] else size for p, size in zip(self.parameters, self.sizes, strict=True)}


def to_host(value: Any, lib: Backend) -> np.ndarray:
    """A value of a parameter as a NumPy array in double precision."""
    found = lib.to_numpy(value) if library_name(value) == lib.name else value
    return np.array(found, dtype=float)


def _pair(given: Any, parameter: Parameter) -> tuple[float, float]:
    """The bounds of a parameter as two numbers."""
    if not (isinstance(given, (tuple, list)) and len(given) == 2):
        raise ParameterError(f"the bounds of {parameter.label} are a pair (lower, upper), not {given!r}")
    lowest, highest = given
    return -inf if lowest is None else float(lowest), inf if highest is None else float(highest)
