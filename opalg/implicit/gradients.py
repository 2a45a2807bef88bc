"""What a backward solve returns: gradients, and how far to trust them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(repr=False)
class Gradients(Mapping):
    """A mapping from Parameter (or its name) to the gradient in it.

    Attributes
    ----------
    relative_residual : float
        The true residual of the adjoint system, relative to its right-hand side.
    products : int
        Products with the system's matrix that the solve took.
    system : str
        Which system was solved: ``"hessian"``, ``"proximal"`` (reduced to the active part) or ``"map"``.
    solver : str
        ``"conjugate_gradients"`` or ``"gmres"``.
    flags : tuple of str
        What the solve noticed: ``"singular"``, ``"forward_not_converged"``, ...
    """

    values_by_parameter: dict[Any, Any]
    relative_residual: float
    products: int
    system: str
    solver: str
    flags: tuple[str, ...] = field(default=())

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            for parameter, value in self.values_by_parameter.items():
                if parameter.name == key:
                    return value
        return self.values_by_parameter[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values_by_parameter)

    def __len__(self) -> int:
        return len(self.values_by_parameter)

    def __repr__(self) -> str:
        names = ", ".join(p.label for p in self.values_by_parameter)
        return (
            f"Gradients in {names}: {self.system} system by {self.solver}, relative residual "
            f"{self.relative_residual:.1e} after {self.products} products"
            + (f"; flags: {', '.join(self.flags)}" if self.flags else "")
        )
