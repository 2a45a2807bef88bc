"""In which precision the equation of a solution is differentiated.

The gradient of a solve in single precision is computed in double where that is affordable: the point, the linear system
and the estimate lose digits to the condition of the system, which the result, rounded to the precision of the plan,
then does not show. On a lasso of condition 1000 that is an error of 1e-7 in the place of 1e-4. It takes the time that
a plan in double takes, and twice the memory, so large problems keep their precision unless double is asked for.
"""

from __future__ import annotations

from collections.abc import Hashable
from math import prod
from typing import Any

from opalg.arrays import Backend
from opalg.errors import ParameterError, UnsupportedError
from opalg.leaves import Leaf
from opalg.methods.method import Lowering
from opalg.nodes import walk

PRECISIONS = ("auto", "float32", "float64")
UNKNOWNS, BYTES = 2**17, 2**26  # of problems that are cast to double precision without being asked for


def binding_in(binding: Any, wanted: str, lowering: Lowering, cache: dict[Hashable, Any]) -> Any:
    """The functions of a solve in the precision that its gradient is to be computed in.

    Parameters
    ----------
    binding
        The compiled functions of the plan.
    wanted : {"auto", "float32", "float64"}
        As in `Solution.vjp`.
    lowering : Lowering
    cache : dict
        What holds for all solutions of a plan.

    Raises
    ------
    ParameterError
        Where less precision is asked for than the plan has.
    UnsupportedError
        Where double precision is asked for and a network computes in its own.
    """
    here: Backend = binding.lib
    if here.precision == "float64":
        if wanted == "float32":
            raise ParameterError("precision='float32' is less than this plan computes in; compile with dtype='float32'")
        return binding
    if wanted == "float32" or (wanted == "auto" and _is_large(lowering, cache)):
        return binding
    double = binding.in_double()
    if double is None and wanted == "float64":
        raise UnsupportedError(
            "precision='float64' needs functions that compute in it, but the networks and functions in this energy "
            "have the precision of the plan; compile with dtype='float64', or leave precision out"
        )
    return binding if double is None else double


def _is_large(lowering: Lowering, cache: dict[Hashable, Any]) -> bool:
    """Whether single precision was probably chosen to save time and memory."""
    if "large" not in cache:
        leaves = [n for n in walk(*lowering.step, *lowering.readout.values()) if isinstance(n, Leaf)]
        unknowns = sum(prod(v.shape) for v in lowering.readout)
        data = sum(prod(n.shape) * (16 if n.kind == "complex" else 8) for n in leaves)
        cache["large"] = unknowns > UNKNOWNS or data > BYTES
    found: bool = cache["large"]
    return found
