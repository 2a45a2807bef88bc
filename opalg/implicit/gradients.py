"""What a backward solve returns: gradients, and how far to trust them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from opalg.arrays import backend_of
from opalg.implicit.recycling import Pairs
from opalg.implicit.spectrum import SpectralReport


@dataclass(frozen=True, repr=False)
class Adjoint:
    """The solution of an adjoint system, to start a later one from; opaque.

    Attributes
    ----------
    system : str
        The system it belongs to.
    state : flat real array
    pairs : Pairs or None
        Directions of the solve with their images, at most 40 vectors more (`recycle` of `Solution.vjp`).
    """

    system: str
    state: Any
    pairs: Pairs | None = None

    def __repr__(self) -> str:
        return f"Adjoint of the {self.system} system"


@dataclass(repr=False)
class Gradients(Mapping):
    """A mapping from Parameter (or its name) to the gradient in it.

    Attributes
    ----------
    relative_residual : float
        The true residual of the adjoint system, recomputed, relative to its right-hand side.
    error_estimates : dict from Parameter to float
        The Euclidean norm of the error of each gradient, as far as it is known; None where no estimate was asked for.
    error_kind : str
        ``"certified"`` (a bound), ``"estimated"`` (to first order in the residuals of the point and of the adjoint) or
        ``"heuristic"`` (the estimate rests on an active set that is not certain, or the mode is not exact); ``"none"``
        where no estimate was made.
    active_margin : float or None
        How far the point is from the next kink, relative to its size; None where there is none.
    system : str
        Which system was solved: ``"hessian"``, ``"reduced"`` (to the active part), ``"proximal"``, ``"saddle"`` or
        ``"map"``.
    solver : str
        ``"direct"`` (a small system by its matrix), ``"conjugate_gradients"``, ``"minres"``, ``"gmres"``, ``"none"``
        or the name of a mode that is not exact.
    flags : tuple of str
        What was noticed: ``"forward_not_converged"``, ``"active_set_uncertain"``, ``"degenerate"``, ...
    counts : dict from str to int
        Products for ``"refine"``, ``"adjoint"`` and ``"estimate"``.
    proven : bool
        Whether the refined point is proven to be the exact minimiser but for rounding: a piecewise quadratic energy
        whose optimality conditions hold, away from kinks.
    adjoint : Adjoint or None
        For ``start=`` of a later gradient.
    debiased : dict from Parameter to array, or None
        The gradients less their estimated errors.
    spectrum : SpectralReport or None
        What GMRES saw of the spectrum of a map's Jacobian.
    per_sample : dict from Parameter to array, or None
        A gradient for each sample, along a new first axis.
    sample_residuals, sample_flags : tuple
        For each sample.
    """

    values_by_parameter: dict[Any, Any]
    relative_residual: float
    system: str
    solver: str
    flags: tuple[str, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    error_estimates: dict[Any, float] | None = None
    error_kind: str = "estimated"
    active_margin: float | None = None
    adjoint: Adjoint | None = None
    debiased: dict[Any, Any] | None = None
    spectrum: SpectralReport | None = None
    per_sample: dict[Any, Any] | None = None
    sample_residuals: tuple[float, ...] = ()
    sample_flags: tuple[tuple[str, ...], ...] = ()
    proven: bool = False

    @property
    def products(self) -> int:
        """Products with the system's matrices, all together."""
        return sum(self.counts.values())

    @property
    def error_estimate(self) -> float | None:
        """The Euclidean norm of the estimated errors of all gradients together."""
        if self.error_estimates is None:
            return None
        return float(np.linalg.norm(list(self.error_estimates.values())))

    @property
    def relative_error(self) -> float | None:
        """`error_estimate` relative to the norm of all gradients together; 0 where both vanish."""
        if self.error_estimate is None:
            return None
        size = float(np.linalg.norm([_norm(g) for g in self.values_by_parameter.values()]))
        return self.error_estimate / size if size > 0 else (0.0 if self.error_estimate == 0 else float("inf"))

    def __getitem__(self, key: Any) -> Any:
        return self.values_by_parameter[self._parameter(key)]

    def _parameter(self, key: Any) -> Any:
        if isinstance(key, str):
            for parameter in self.values_by_parameter:
                if key == (parameter if isinstance(parameter, str) else getattr(parameter, "name", None)):
                    return parameter
        return key

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values_by_parameter)

    def __len__(self) -> int:
        return len(self.values_by_parameter)

    def __repr__(self) -> str:
        names = ", ".join(_label(p) for p in self.values_by_parameter)
        error = "" if self.relative_error is None else f", {self.error_kind} relative error {self.relative_error:.1e}"
        return (
            f"Gradients in {names}: {self.system} system by {self.solver}, relative residual "
            f"{self.relative_residual:.1e} after {self.products} products{error}"
            + (f"; flags: {', '.join(self.flags)}" if self.flags else "")
        )


def _norm(array: Any) -> float:
    return float(np.linalg.norm(np.ravel(backend_of(array).to_numpy(array))))


def _label(key: Any) -> str:
    """What a parameter, an option or a weight of a network is called."""
    if isinstance(key, str):
        return key
    return str(key.label) if hasattr(key, "label") else f"a weight of shape {tuple(key.shape)}"
