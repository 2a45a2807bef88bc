"""Operators and functionals of other libraries, as the kit looks at them; none of the libraries is imported for it."""

from __future__ import annotations

from typing import Any

from opalg.functionals.calculus import Functional
from opalg.operators.algebra import LinearOperator
from opalg.testing.adapters.adapted import Adapted
from opalg.testing.adapters.adapted_functional import AdaptedFunctional
from opalg.testing.adapters.choose import LIBRARIES, adapter_of, functional_adapter_of, library_of

__all__ = ["LIBRARIES", "Adapted", "AdaptedFunctional", "adapted", "adapted_functional", "library_of"]


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


def adapted_functional(functional: Any, shape: Any = None) -> Any:
    """What the kit tries in place of a functional: an `AdaptedFunctional` of another library's, else the object itself.

    Parameters
    ----------
    functional : object
        Of PyProximal, ODL, SCICO or PyUNLocBoX, or of a class that derives from one of theirs.
    shape : tuple of int, optional
        The arrays that it will be tried on.

    Returns
    -------
    AdaptedFunctional or object

    Examples
    --------
    >>> import opalg as oa
    >>> f = oa.functionals.Norm1()
    >>> oa.testing.adapters.adapted_functional(f) is f
    True
    """
    if isinstance(functional, (Functional, AdaptedFunctional)):
        return functional
    adapt = functional_adapter_of(functional)
    return functional if adapt is None else adapt(functional, shape)
