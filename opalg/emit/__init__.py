"""What makes a program fast: fusion, memory plan, cost, one dialect per array library. Knows nothing of energies."""

from opalg.emit.calling import call
from opalg.emit.cost import Cost
from opalg.emit.function import BoundFunction, Function

__all__ = ["BoundFunction", "Cost", "Function", "call"]
