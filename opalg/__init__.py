"""opalg: declare an energy from composable linear operators, compile it to a solver, differentiate its solution.

>>> import numpy as np
>>> import opalg as oa
>>> x = oa.Variable(3, name="x")
>>> sol = oa.minimize(oa.sum_squares(x - np.array([1.0, -2.0, 3.0])) + oa.indicator(x >= 0))
>>> sol.x.round(6).tolist()
[1.0, 0.0, 3.0]
"""

from opalg import functionals, learning, operators
from opalg.arrays import Backend, backend
from opalg.compiler import MapPlan, Plan, compile, fixed_point, minimize
from opalg.energies import (
    Affine,
    Constraint,
    Energy,
    Term,
    Variable,
    apply,
    huber,
    indicator,
    norm1,
    norm2,
    norm21,
    pointwise,
    sum_squares,
    total_variation,
)
from opalg.errors import (
    AdjointError,
    AdjointNotConvergedError,
    BreakdownError,
    ConvexityError,
    DeviceError,
    DivergedError,
    DtypeError,
    InexactSolutionError,
    NonFiniteError,
    NotAffineError,
    NotLinearError,
    OpalgError,
    ParameterError,
    RewriteCycleError,
    ShapeError,
    SingularAdjointError,
    StepSizeError,
    UnsafeExpressionError,
    UnsupportedError,
)
from opalg.facts import NO, UNKNOWN, YES, Bound, Fact
from opalg.functionals.potential import Potential
from opalg.functionals.sets import affine, box, nonneg, point
from opalg.leaves import Constant, Parameter
from opalg.learning import hypergradient, metrics, tune
from opalg.operators import *  # noqa: F403
from opalg.operators import __all__ as _operator_names
from opalg.program.expression import Expression, exp, log, sqrt, total
from opalg.solving.certificate import Certificate
from opalg.solving.solution import ConvergenceWarning, Solution
from opalg.solving.status import Status

__version__ = "0.1.0"
