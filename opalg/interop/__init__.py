"""Bridges to other libraries: SciPy's operators and optimisers."""

from opalg.interop.scipy_minimize import ScipyProblem, as_scipy
from opalg.interop.scipy_operator import from_scipy, to_scipy

__all__ = ["ScipyProblem", "as_scipy", "from_scipy", "to_scipy"]
