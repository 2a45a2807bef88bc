"""Noisy data with energies to tune, and what the truth says of every weight."""

import numpy as np

import opalg as oa

SIGMA = 0.1
STEPS = np.repeat([0.0, 1.0, 0.3, 0.8], 64)
IMAGE = np.kron(np.array([[0.0, 1.0, 1.0], [0.5, 1.0, 0.0], [0.5, 0.0, 0.2]]), np.ones((9, 9)))
TIGHT = oa.learning.Fixed(1e-6, 1e-4)


class Case:
    """``|A x - y|^2 / 2 + lambda R(x)`` with noisy data, and the predicted risk of any lambda against the truth."""

    def __init__(self, truth, regulariser, blur=None, start=1.0, seed=0):
        self.truth, self.blur = truth, blur
        self.clean = truth if blur is None else np.asarray(blur.apply(truth))
        noisy = self.clean + SIGMA * np.random.default_rng(seed).standard_normal(truth.shape)
        self.x, self.y = oa.Variable(truth.shape, name="x"), oa.Parameter(noisy, name="y")
        self.lam = oa.Parameter(start, name="lambda", positive=True)
        self.residual = (self.x if blur is None else blur @ self.x) - self.y
        self.energy = 0.5 * oa.sum_squares(self.residual) + self.lam * regulariser(self.x)
        self.plan = oa.compile(self.energy)

    def predicted(self, lam):
        x = self.plan.solve(params={self.lam: np.asarray(lam)}, tol=1e-7, max_iter=4000, on_failure="return").x
        return x if self.blur is None else np.asarray(self.blur.apply(x))

    def risk(self, lam):
        return float(np.mean((self.predicted(lam) - self.clean) ** 2))

    def best(self, lowest, highest, count=25):
        return min(self.risk(lam) for lam in np.geomspace(lowest, highest, count))


def smooth(x):
    return oa.sum_squares(oa.Gradient(x.shape) @ x)


def tv(x):
    return oa.norm1(oa.Gradient(x.shape) @ x)


def rounded_tv(x):
    return oa.huber(oa.Gradient(x.shape) @ x, 0.05)


def sparse():
    rng, truth = np.random.default_rng(3), np.zeros(400)
    truth[rng.choice(400, 30, replace=False)] = 2.0 * rng.standard_normal(30)
    return truth


def blur(shape):
    kernel = np.array([0.25, 0.5, 0.25])
    return oa.Convolve(kernel if len(shape) == 1 else np.outer(kernel, kernel), shape, boundary="periodic")


CASES = {
    "smooth, 1-D": lambda: (Case(np.sin(np.linspace(0, 9, 400)), smooth), 0.3, 30),
    "smooth, 1-D, blurred": lambda: (Case(np.sin(np.linspace(0, 9, 400)), smooth, blur((400,))), 0.3, 30),
    "tv, 1-D": lambda: (Case(STEPS, tv), 0.05, 2),
    "huber, 2-D": lambda: (Case(IMAGE, rounded_tv), 0.1, 10),
    "huber, 2-D, blurred": lambda: (Case(IMAGE, rounded_tv, blur(IMAGE.shape), 0.5), 0.03, 4),
    "l1, 1-D": lambda: (Case(sparse(), oa.norm1), 0.03, 1),
}


def row_at(case, regulariser, weight, by, **options):
    """Loss and gradient at one weight, from solves as exact as they come."""
    lam = oa.Parameter(weight, name="lambda", positive=True)
    energy = 0.5 * oa.sum_squares(case.residual) + lam * regulariser(case.x)
    exact = oa.learning.Fixed(1e-12, 1e-9)
    row = oa.tune(energy, [{}], lam, by=by, schedule=exact, max_iter=50_000, steps=1, **options).path[0]
    return row.loss, row.gradients[lam]


def slope_by_differences(case, regulariser, weight, by, **options):
    """The slope of the loss in the weight; no kink lies within the step."""
    h = 1e-5
    losses = [row_at(case, regulariser, w, by, **options)[0] for w in (weight + h, weight - h)]
    return (losses[0] - losses[1]) / (2 * h)
