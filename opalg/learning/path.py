"""What tuning returns: the best values and the path to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from opalg.compiler import Plan
from opalg.implicit.flags import FORWARD_NOT_CONVERGED
from opalg.learning.lower_level import Accuracy
from opalg.leaves import Parameter


@dataclass(frozen=True)
class TuningStep:
    """One evaluation: values, loss and gradient there.

    Attributes
    ----------
    values : dict from Parameter to float or array
    loss : float
        What the criterion measures: the mean squared error over all pairs for ``"supervised"``.
    gradients : dict from Parameter to float or array
        The gradient of the loss.
    figures : dict from str to float
        More about the loss: ``"psnr"`` for ``"supervised"``, ``"noise_ratio"`` (residual over noise) for
        ``"discrepancy"``.
    relative_residual : float
        The largest relative residual among the linear systems of the gradients.
    iterations, products : int
        Iterations of the solves, and products with the matrices of the linear systems.
    seconds : float
        Since the start.
    accuracy : Accuracy
        Tolerances of the solves and of the linear systems.
    slope_norm, slope_error : float
        Norm of the gradient of the objective in the coordinates of the search, and its estimated error; NaN where no
        estimate was asked for.
    loss_error : float
        Estimated error of the loss; NaN where no estimate was asked for.
    saved : float
        Share of the work of the first evaluation, iterations and products, that the warm start has saved; negative
        where this one took more, as more accurate ones do.
    accepted : bool
        Whether it was accurate enough for the schedule; it was repeated otherwise.
    flags : tuple of str
        What the gradients were marked with, see ``Gradients.flags``.
    """

    values: dict[Parameter, Any]
    loss: float
    gradients: dict[Parameter, Any]
    figures: dict[str, float]
    relative_residual: float
    iterations: int
    products: int
    seconds: float
    accuracy: Accuracy = field(default_factory=Accuracy)
    slope_norm: float = float("nan")
    slope_error: float = float("nan")
    loss_error: float = float("nan")
    saved: float = 0.0
    accepted: bool = True
    flags: tuple[str, ...] = ()

    @property
    def psnr(self) -> float:
        """Peak signal-to-noise ratio in decibels of the mean squared error, for data from 0 to 1; NaN without truth."""
        return self.figures.get("psnr", float("nan"))


@dataclass(frozen=True, repr=False)
class Tuning:
    """The result of `tune`.

    Attributes
    ----------
    values : dict from Parameter to float or array
        The best values met, ready for ``plan.solve(params=values)``.
    loss : float
        The loss there.
    path : list of TuningStep
        Every evaluation in order; the first is the start.
    plan : Plan
        The compiled energy.
    message : str
        Why the search ended.
    reason : str
        The same in a word: ``"flat"``, ``"short"``, ``"steps"``, ``"outer"`` or ``"interrupted"``.
    criterion : str
        What was minimised, as in ``by=``.
    unit : str
        What the loss is.
    """

    values: dict[Parameter, Any]
    loss: float
    path: list[TuningStep]
    plan: Plan
    message: str
    reason: str
    criterion: str
    unit: str

    @property
    def unfinished(self) -> int:
        """In how many evaluations a solve reached ``max_iter`` before its tolerance, so that the loss is not exact."""
        return sum(FORWARD_NOT_CONVERGED in row.flags for row in self.path)

    @property
    def iterations(self) -> int:
        """Iterations of all solves."""
        return sum(row.iterations for row in self.path)

    @property
    def products(self) -> int:
        """Products of all linear systems."""
        return sum(row.products for row in self.path)

    def plot(self, figure: Any = None) -> Any:
        """Plot loss, parameters and gradients with their errors along the path (needs matplotlib).

        Parameters
        ----------
        figure : matplotlib figure, optional
            Where to draw; by default a new one.

        Returns
        -------
        matplotlib figure
        """
        import importlib

        return importlib.import_module("opalg.plotting").plot_tuning(self, figure=figure)

    def __repr__(self) -> str:
        found = ", ".join(f"{p.label} = {v:.4g}" for p, v in self.values.items() if isinstance(v, float))
        arrays = ", ".join(p.label for p, v in self.values.items() if not isinstance(v, float))
        what = "; ".join(part for part in (found, f"arrays: {arrays}" if arrays else "") if part)
        return (
            f"Tuning: {what}\n  {self.unit} {self.path[0].loss:.4g} -> {self.loss:.4g} in {len(self.path)} "
            f"evaluations ({self.iterations} iterations, {self.products} products, {self.path[-1].seconds:.1f} s): "
            f"{self.message}{self._shortfall}"
        )

    @property
    def _shortfall(self) -> str:
        if not self.unfinished:
            return ""
        return (
            f"\n  in {self.unfinished} of {len(self.path)} evaluations a solve reached max_iter before its tolerance, "
            f"so these losses are not those of minimisers; give a larger max_iter"
        )
