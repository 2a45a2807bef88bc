"""Bridges to other libraries: SciPy's operators and optimisers, PyLops, and Torch modules."""

from opalg.interop.pylops_operator import from_pylops, to_pylops
from opalg.interop.scipy_minimize import ScipyProblem, as_scipy
from opalg.interop.scipy_operator import from_scipy, to_scipy
from opalg.interop.torch_module import from_torch

__all__ = ["ScipyProblem", "as_scipy", "from_pylops", "from_scipy", "from_torch", "to_pylops", "to_scipy"]
