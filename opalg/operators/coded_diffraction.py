"""Coded diffraction: far-field waves of an image seen through several masks."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from opalg.errors import ShapeError
from opalg.leaves import Constant, Parameter
from opalg.nodes import node
from opalg.operators.algebra import LinearOperator
from opalg.operators.coils import ParallelMRI
from opalg.operators.knowledge import Facts
from opalg.operators.spectra import as_data, text
from opalg.program.expression import Expression, Shape


@node
class CodedDiffraction(LinearOperator):
    """The waves that an image behind each of several masks sends to the far field, ``y_i = F (m_i x)``.

    Parameters
    ----------
    masks : array, Constant, Parameter or Expression, shape ``(masks, *shape)``
        What the masks ``m_i`` multiply the image by, complex or real; dimensionless. Random phases of size 1 are usual.
    centered : bool
        Whether frequency zero is in the middle of the result, at index ``n // 2`` of each axis; by default at index 0.

    Raises
    ------
    ShapeError
        Where the masks have no axis in front of the image's, or an axis is empty.

    Notes
    -----
    ``F`` is the orthonormal Fourier transform over all axes of an image, ``(A.H y) = sum_i conj(m_i) F.H y_i``, and
    ``A.H A = Diagonal(sum_i |m_i|^2)``, so that ``||A|| = sqrt(max sum_i |m_i|^2)`` (exact); masks of size 1 make it a
    scaled isometry. What a camera records is ``|A x|``: with `opalg.magnitude_mismatch` this is phase retrieval from
    coded diffraction patterns (Candes, Li, Soltanolkotabi 2015). The masks are the blocks of rows that `opalg.online`
    draws from. The operator itself is linear.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> A = oa.CodedDiffraction(np.array([[1.0, 1.0], [1.0, -1.0]]))
    >>> np.round(abs(A @ np.array([3.0, 3.0])), 3).tolist()
    [[4.243, 0.0], [0.0, 4.243]]
    >>> round(float(A.norm_bound()) ** 2, 12)
    2.0
    """

    masks: Any
    centered: bool = False
    in_kind = "complex"

    def __post_init__(self) -> None:
        masks = as_data(self.masks, "CodedDiffraction")
        if masks.ndim < 2 or 0 in masks.shape:
            raise ShapeError(
                f"CodedDiffraction takes masks of shape (masks, *shape) without empty axes, but was given shape "
                f"{masks.shape}; for a single mask write mask[None]"
            )
        object.__setattr__(self, "masks", masks)

    @cached_property
    def waves(self) -> ParallelMRI:
        """The same operator as that of coils without sampling, whose formulas and rules it shares."""
        return ParallelMRI(self.masks, centered=self.centered)

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        return self.masks.shape[1:]

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return self.masks.shape

    def trace(self, x: Expression) -> Expression:
        return self.waves.trace(x)

    def trace_adjoint(self, y: Expression) -> Expression:
        return self.waves.trace_adjoint(y)

    @property
    def facts(self) -> Facts:
        return self.waves.facts

    def __repr__(self) -> str:
        return f"CodedDiffraction({text(self.masks)}{', centered=True' if self.centered else ''})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        phases = np.exp(2j * np.pi * rng.random((3, 2, 4)))
        return [
            CodedDiffraction(phases),
            CodedDiffraction(Parameter(phases[:2, :, :3], name="masks"), centered=True),
            CodedDiffraction(rng.standard_normal((2, 5))),
            CodedDiffraction(Constant(phases[:1])),
        ]


__all__ = ["CodedDiffraction"]
