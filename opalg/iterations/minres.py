"""MINRES for symmetric systems that may be indefinite or singular."""

from __future__ import annotations

from math import hypot, isfinite, sqrt
from typing import Any

import numpy as np

from opalg.iterations.iteration import LinearIteration
from opalg.iterations.ritz import tridiagonal_eigenvalues
from opalg.iterations.vectors import add_scaled, dot, norm


class MINRES(LinearIteration):
    """Minimal residuals for ``A x = b`` with a symmetric ``A``.

    The residual is that of the recurrence, in the Euclidean norm; it may lag behind the true one on ill-conditioned
    systems, so a loop verifies with `true_residual` before it believes it.

    Parameters
    ----------
    apply : callable
        ``A``, symmetric, from flat real array to flat real array.
    rhs : flat real array
        The right-hand side ``b``.
    lib : Backend
        Library, device and precision.
    precondition : callable, optional
        A symmetric positive definite approximation of the inverse of ``|A|``. The norm that decreases is then that
        of the preconditioned residual.

    Notes
    -----
    Outcomes: ``"singular"`` (a residual stays that no step lowers: the state is a least-squares solution of an
    inconsistent system), ``"stagnated"`` (the residual is at the floor of the precision), ``"breakdown"`` (the
    preconditioner is not positive definite), ``"nonfinite"``.

    References
    ----------
    Paige and Saunders (1975), section 6; Choi, Paige and Saunders (2011), Table 2.1, for the residual vector.
    """

    def start(self, z0: Any = None) -> None:
        self._reset()
        lib = self.lib
        self._x = self._own_start(z0)
        self._r = self._first_residual(z0, self._x)
        self.residual = norm(self._r, lib)
        shape = tuple(self.rhs.shape)
        self._older, self._newer = lib.zeros(shape), lib.copy(self._r)  # unnormalised Lanczos vectors
        self._directions = [lib.zeros(shape), lib.zeros(shape)]
        self._v, self._next, self._scratch = lib.empty(shape), lib.empty(shape), lib.empty(shape)
        self._image = lib.empty(shape) if self.precondition is not None else None
        self._cosine, self._sine, self._beside_next, self._skip = -1.0, 0.0, 0.0, 0.0
        self._beta_old = 0.0
        self._largest = 0.0
        self._idle = 0
        self._longest = 0.0 if z0 is None else norm(self._x, lib)  # at least |x|
        self._diagonal: list[float] = []
        self._beside: list[float] = []
        self._beta = self._precondition_newest() if self.residual > 0 else 0.0
        self._remaining = self._beta

    def advance(self) -> float:
        if self.outcome is not None or self.residual == 0.0:
            return self.residual
        if self._beta <= self.lib.epsilon * self._largest:
            self._restart()
            if self.outcome is not None or self.residual == 0.0:
                return self.residual
        alpha = self._lanczos()
        if self.outcome is None:
            self._rotate(alpha)
        return self.residual

    @property
    def state(self) -> Any:
        return self._x

    def release(self) -> None:
        super().release()
        self._r = self._older = self._newer = self._v = self._next = self._scratch = self._image = None
        self._directions = []

    def ritz_values(self) -> np.ndarray:
        """The eigenvalues of the Lanczos matrix, ascending: estimates inside the (preconditioned) spectrum."""
        return tridiagonal_eigenvalues(self._diagonal, self._beside[:-1])

    def _restart(self) -> None:
        """Begin a new Krylov space at the state, where the old one is exhausted and a residual is left."""
        products = self.products
        self.start(self._x)
        self.products += products

    def _precondition_newest(self) -> float:
        """Set the image of the newest Lanczos vector under the preconditioner; its norm in that metric."""
        if self.precondition is None:
            return norm(self._newer, self.lib)
        self.lib.copy(self.precondition(self._newer), out=self._image)
        squared = dot(self._newer, self._image, self.lib)
        if squared < 0 or (squared == 0 and norm(self._newer, self.lib) > 0):
            self._stop(
                "breakdown",
                "r . M r is not positive for a vector r that is not zero: the preconditioner M is not positive "
                "definite; use one that is, or leave it out.",
            )
            return 0.0
        return sqrt(squared)

    def _lanczos(self) -> float:
        """One step of the Lanczos recurrence: the new vector, its length and the diagonal entry."""
        lib, beta = self.lib, self._beta
        newest = self._newer if self._image is None else self._image
        lib.multiply(newest, 1.0 / beta, out=self._v)
        lib.copy(self._product(self._v), out=self._next)
        if self._beta_old:
            add_scaled(self._next, -beta / self._beta_old, self._older, self._scratch, lib)
        alpha = dot(self._v, self._next, lib)
        if not isfinite(alpha):
            self._stop_nonfinite("v . A v")
            return alpha
        add_scaled(self._next, -alpha / beta, self._newer, self._scratch, lib)
        self._older, self._newer, self._next = self._newer, self._next, self._older
        self._beta_old = beta
        self._beta = self._precondition_newest()
        if not isfinite(self._beta):
            self._stop_nonfinite("A v")
        return alpha

    def _rotate(self, alpha: float) -> None:
        """Extend the QR factorisation of the Lanczos matrix and move the state."""
        lib, beta = self.lib, self._beta
        cosine, sine, beside = self._cosine, self._sine, self._beside_next
        self._largest = max(self._largest, hypot(alpha, beta, self._beta_old if self._diagonal else 0.0))
        self._diagonal.append(alpha)
        self._beside.append(beta)
        above = cosine * beside + sine * alpha
        corner = sine * beside - cosine * alpha
        skip, self._skip = self._skip, sine * beta
        self._beside_next = -cosine * beta
        # |A r| / (|A| |r|), before this step
        normal = hypot(corner, self._beside_next) / self._largest if self._largest else 0.0
        pivot = hypot(corner, beta)
        if normal <= 10 * lib.epsilon or pivot == 0.0:
            self._stop_least_squares()
            return
        self._cosine, self._sine = corner / pivot, beta / pivot
        # One step without progress is common where the spectrum is symmetric about zero; two and a small A r are not.
        idle = normal <= 10 * lib.epsilon**0.5 and self._cosine**2 <= 20 * lib.epsilon
        self._idle = self._idle + 1 if idle else 0
        if self._idle == 2:
            self._stop_least_squares()
            return
        length, before = self._cosine * self._remaining, abs(self._remaining)
        self._remaining *= self._sine
        older, newer = self._directions
        lib.multiply(older, -skip, out=older)  # the oldest direction's buffer becomes the new direction
        add_scaled(older, -above, newer, self._scratch, lib)
        lib.add(older, self._v, out=older)
        lib.multiply(older, 1.0 / pivot, out=older)
        self._directions = [newer, older]
        if self._step_is_noise(abs(length) * norm(older, lib), before):
            self._stop_least_squares()
            return
        add_scaled(self._x, length, older, self._scratch, lib)
        self._update_residual()

    def _step_is_noise(self, step: float, before: float) -> bool:
        """Whether the rounding of ``A x`` after a step of this length would exceed the residual that it is to lower.

        On a singular inconsistent system the iterates run away along the null space (Choi, Paige and Saunders 2011).
        """
        floor = self.lib.epsilon * self._largest
        if floor * (self._longest + step) < before:
            self._longest += step
            return False
        self._longest = norm(self._x, self.lib) + step  # the sum of the steps overestimates: look closely
        return floor * self._longest >= before

    def _update_residual(self) -> None:
        if self.precondition is None:
            self.residual = abs(self._remaining)
            return
        lib = self.lib
        lib.multiply(self._r, self._sine**2, out=self._r)
        if self._beta > 0:
            add_scaled(self._r, -self._remaining * self._cosine / self._beta, self._newer, self._scratch, lib)
        self.residual = norm(self._r, lib)

    def _stop_least_squares(self) -> None:
        left = f"a residual of {self.residual:.3g} ({self.residual / max(self.rhs_norm, self.lib.tiny):.1e} of the rhs)"
        if self.residual > self.lib.epsilon**0.5 * self.rhs_norm:
            self._stop(
                "singular",
                f"{left} cannot be lowered: the state solves the system in the least-squares sense only. The operator "
                f"is singular and the right-hand side not in its range, or it is too ill-conditioned for "
                f"{self.lib.precision}.",
            )
        else:
            self._stop(
                "stagnated",
                f"{left} is at the floor of {self.lib.precision}; ask for a larger tolerance, precondition, or use "
                f"float64.",
            )
