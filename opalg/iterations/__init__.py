"""How a solution of any system, or a fixed point of any map, is sought, one advance at a time.

Nothing here knows energies, plans or methods: maps take and give flat real arrays (`VectorSpace` packs states into
them), and one loop, elsewhere, drives every iteration.
"""

from opalg.iterations.anderson import Anderson
from opalg.iterations.batched_anderson import BatchedAnderson
from opalg.iterations.batched_conjugate_gradients import BatchedConjugateGradients
from opalg.iterations.conjugate_gradients import ConjugateGradients
from opalg.iterations.gmres import GMRES
from opalg.iterations.iteration import Iteration, LinearIteration
from opalg.iterations.minres import MINRES
from opalg.iterations.momentum import BatchedMomentum, Momentum
from opalg.iterations.picard import Picard
from opalg.iterations.vectors import VectorSpace

__all__ = [
    "GMRES",
    "MINRES",
    "Anderson",
    "BatchedAnderson",
    "BatchedConjugateGradients",
    "BatchedMomentum",
    "ConjugateGradients",
    "Iteration",
    "LinearIteration",
    "Momentum",
    "Picard",
    "VectorSpace",
]
