"""The exceptions of opalg: one shallow tree, each class also a built-in that callers already catch."""

from __future__ import annotations

from typing import Any


class OpalgError(Exception):
    """Base class of every error that opalg raises on purpose.

    Attributes
    ----------
    solution : object or None
        Where a solve failed, the `Solution` with the last finite iterate, so that nothing is lost.
    """

    solution: Any = None


class ShapeError(OpalgError, ValueError):
    """An array or expression has the wrong shape."""


class DtypeError(OpalgError, TypeError):
    """An array has the wrong dtype: integer data, or complex where real is needed."""


class DeviceError(OpalgError, RuntimeError):
    """Arrays live on different devices, or a device or array library is not available."""


class NonFiniteError(OpalgError, ValueError, FloatingPointError):
    """NaN or infinity in data, or met during a solve."""


class ParameterError(OpalgError, ValueError):
    """A parameter or option has a value outside its domain, or a name that is unknown or taken twice."""


class NotAffineError(OpalgError, TypeError):
    """An expression of variables is not affine, where the language needs it to be."""


class NotLinearError(OpalgError, ValueError):
    """A map that was declared linear is not."""


class AdjointError(OpalgError, ValueError):
    """An operator's adjoint does not match its forward map."""


class ConvexityError(OpalgError, ValueError):
    """An energy is not known to be convex and the caller did not allow that."""


class UnsupportedError(OpalgError, NotImplementedError):
    """What was asked for is not offered: no method fits, or an ability is missing."""


class RewriteCycleError(OpalgError, RuntimeError):
    """Rewrite rules undo each other; the message names them."""


class BreakdownError(OpalgError, ArithmeticError):
    """A solve did not reach its tolerance and the caller asked for an error; see ``.solution``."""


class DivergedError(OpalgError, ArithmeticError):
    """A solve left every reasonable region; the last finite iterate is in ``.solution``."""


class NotAContractionError(DivergedError):
    """A fixed-point iteration or a series diverged since its map does not contract.

    Attributes
    ----------
    contraction : float or None
        The factor by which an application of the map was seen to lengthen residuals; above 1.
    """

    contraction: float | None = None


class InexactSolutionError(OpalgError, RuntimeError):
    """A gradient was asked for at a point that is not a solution to the accuracy needed."""


class SingularAdjointError(OpalgError, ArithmeticError):
    """The linear system of an implicit gradient has no solution."""


class AdjointNotConvergedError(OpalgError, ArithmeticError):
    """The linear system of an implicit gradient was not solved to its tolerance."""


class UnsafeExpressionError(OpalgError, ValueError):
    """A formula contains something that opalg does not turn into code."""
