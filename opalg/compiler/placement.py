"""Where a plan runs: the library, device and precision that its data imply, or that the caller asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opalg.arrays import Backend, backend, library_name, precision_of
from opalg.energies.affine import Variable, precision_and_kind
from opalg.energies.energy import EnergyExpression
from opalg.errors import DtypeError
from opalg.leaves import Held, Leaf
from opalg.nodes import walk


def data_leaves(energy: EnergyExpression) -> list[Leaf]:
    """The arrays among the offsets of terms: the data, which decide library and precision."""
    offsets = [t.expression.offset for t in energy.terms if t.expression.offset is not None]
    return [n for n in walk(*offsets) if isinstance(n, Leaf) and n.kind != "bool" and n.shape != ()]


def operator_leaves(energy: EnergyExpression) -> list[Leaf]:
    """Every other array of the energy."""
    data = set(data_leaves(energy))
    return [n for n in energy.leaves if n not in data and n.kind != "bool" and n.shape != ()]


def placement(energy: EnergyExpression, name: str | None, device: Any, dtype: Any) -> Backend:
    """The backend for an energy.

    Raises
    ------
    DtypeError, DeviceError
        Where a dtype, library or device does not exist.
    """
    return placement_of(data_leaves(energy) or operator_leaves(energy), energy.variables, name, device, dtype)


def placement_of(
    sources: Sequence[Leaf], variables: Sequence[Variable], name: str | None, device: Any, dtype: Any
) -> Backend:
    """The backend that arrays and variables imply, or that is asked for."""
    sources = [leaf for leaf in sources if not isinstance(leaf, Held)]
    precision = precision_and_kind(dtype)[0] if dtype is not None else None
    if precision is None:
        wanted = {v.precision for v in variables if v.precision} or {_precision(leaf) for leaf in sources}
        precision = "float64" if "float64" in wanted or not wanted else "float32"
    owner = next((leaf.value for leaf in sources if library_name(leaf.value) not in (None, "numpy")), None)
    if name is None:
        name = library_name(owner) if owner is not None else "numpy"
    if device is None and owner is not None and library_name(owner) == name:
        device = getattr(owner, "device", None)
    return backend(str(name), precision, device)


def _precision(leaf: Leaf) -> str:
    found = precision_of(leaf.value)
    if found is None:
        raise DtypeError(f"{leaf.label} has dtype {leaf.value.dtype}; opalg computes in float32 or float64")
    return found


def casts(energy: EnergyExpression, lib: Backend) -> list[str]:
    """Sentences on data that are cast to the working precision."""
    out = []
    for leaf in [*data_leaves(energy), *operator_leaves(energy)]:
        if precision_of(leaf.value) != lib.precision:
            out.append(f"{leaf.label} of shape {leaf.shape} is cast from {leaf.value.dtype} to {lib.precision}")
    return out
