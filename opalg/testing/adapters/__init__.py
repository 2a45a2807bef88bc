"""Linear operators of other libraries, as `check_operator` looks at them; none of the libraries is imported for it."""

from __future__ import annotations

from typing import Any

from opalg.operators.algebra import LinearOperator
from opalg.testing.adapters.adapted import Adapted
from opalg.testing.adapters.choose import LIBRARIES, adapter_of, library_of

__all__ = ["LIBRARIES", "Adapted", "adapted", "library_of"]


def adapted(operator: Any, in_shape: Any = None, out_shape: Any = None) -> Any:
    """What the kit tries in place of an object: an `Adapted` for what another library made, else the object itself.

    Parameters
    ----------
    operator : object
        Of SciPy (operators, sparse matrices, arrays), PyLops, Torch (modules), DeepInverse, SigPy, SCICO or ODL, or of
        a class that derives from one of theirs.
    in_shape, out_shape : tuple of int, optional
        The shapes without batch axes, where the object does not say them.

    Returns
    -------
    Adapted or object

    Raises
    ------
    ParameterError
        Where a shape is needed and not known.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> A = oa.testing.adapters.adapted(np.array([[1.0, 2.0]]))
    >>> A.in_shape, A.out_shape, A.apply(np.array([3.0, 4.0]))
    ((2,), (1,), array([11.]))
    """
    if isinstance(operator, (LinearOperator, Adapted)):
        return operator
    adapt = adapter_of(operator)
    return operator if adapt is None else adapt(operator, in_shape, out_shape)
