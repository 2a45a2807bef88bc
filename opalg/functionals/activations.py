"""Potentials whose derivatives are the activations of neural networks, as pairs ``(phi, phi')``."""

from __future__ import annotations

from typing import Any

from opalg.errors import ParameterError
from opalg.functionals.potential_function import Potential


def activation(name: str, parameter: Any = None) -> Potential:
    """The potential ``phi`` whose derivative ``phi'`` is an activation, for fields of experts and for maps.

    Parameters
    ----------
    name : {"identity", "relu", "softshrink", "tanh"}
        The derivative: ``z``, ``max(z, 0)``, ``z`` shrunk towards zero by the threshold, or ``tanh(scale z)``.
    parameter : number, array or Parameter, optional
        The threshold of ``"softshrink"`` (0.5 by default) or the scale of ``"tanh"`` (1 by default); arrays give each
        entry its own.

    Returns
    -------
    Potential
        ``oa.pointwise(activation(...), A @ u + b)`` is the expert term, and ``oa.apply(activation(...), e)`` the
        activation itself.

    Raises
    ------
    ParameterError
        For an unknown name, and a parameter where there is none.

    Notes
    -----
    The potentials are ``z^2 / 2``, ``max(z, 0)^2 / 2``, ``max(|z| - t, 0)^2 / 2`` and ``log cosh(c z) / c``. All are
    convex, and their derivatives have the Lipschitz constants 1, 1, 1 and c (Riccio, Ehrhardt and Benning 2022).

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = oa.functionals.PotentialSum(oa.activation("softshrink", 0.5))
    >>> f.gradient(np.array([-2.0, 0.3, 1.0]))
    array([-1.5,  0. ,  0.5])
    """
    import sympy

    z, p = sympy.Symbol("z", real=True), sympy.Symbol("p", positive=True)
    formulas = {
        "identity": z**2 / 2,
        "relu": sympy.Max(z, 0) ** 2 / 2,
        "softshrink": sympy.Max(sympy.Abs(z) - p, 0) ** 2 / 2,
        "tanh": sympy.log(sympy.cosh(p * z)) / p,
    }
    if name not in formulas:
        raise ParameterError(f"the activations with a name are {', '.join(formulas)}, not {name!r}")
    if p not in formulas[name].free_symbols:
        if parameter is not None:
            raise ParameterError(f"the activation {name!r} has no parameter, but {parameter!r} was given")
        return Potential(z, formulas[name])
    default = 0.5 if name == "softshrink" else 1.0
    return Potential(z, formulas[name], p=default if parameter is None else parameter)


__all__ = ["activation"]
