"""The derivative of an equation at a point, as something that linear systems are solved with.

Each way to solve them is a subclass in a file of its own; all offer the same two solves, ``J^T a = b`` and
``J d = r``, for right-hand sides with a part for every part of the point.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from opalg.arrays import Backend
from opalg.implicit.linear_solve import Accuracy, Solved
from opalg.implicit.programs import Arrays, Programs
from opalg.implicit.rows import BatchRows
from opalg.implicit.system import Equation
from opalg.iterations import VectorSpace


class Jacobian(ABC):
    """``J`` at a point.

    Parameters
    ----------
    equation : Equation
    programs : Programs
    point : list of array

    Attributes
    ----------
    batch : BatchRows or None
        Where the variables' systems are solved sample by sample.
    """

    name: ClassVar[str] = ""
    symmetric: ClassVar[bool] = True
    batch: BatchRows | None = None

    def __init__(self, equation: Equation, programs: Programs, point: Arrays) -> None:
        self.equation, self.programs, self.point = equation, programs, list(point)
        self.lib: Backend = programs.lib

    @abstractmethod
    def solve_adjoint(self, b: Arrays, accuracy: Accuracy, start: Any = None) -> tuple[Arrays, Solved]:
        """The ``a`` with ``J^T a = b``, and how its linear system was solved; ``start`` is an earlier state of it."""

    @abstractmethod
    def solve_forward(self, r: Arrays, accuracy: Accuracy, start: Any = None) -> tuple[Arrays, Solved]:
        """The ``d`` with ``J d = r``, and how its linear system was solved."""

    def _space(self, nodes: Sequence[Any]) -> VectorSpace:
        return VectorSpace([n.shape for n in nodes], [n.kind for n in nodes], self.lib)
