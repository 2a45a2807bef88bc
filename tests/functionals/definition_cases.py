"""The catalogue entry by entry: each functional with the formula that its page gives, written down a second time."""

from __future__ import annotations

from typing import Any

import numpy as np

import opalg as oa
from opalg import functionals as fs
from tests.functionals.definitions import LONG, Scalar

SHAPE = (3, 4)
RNG = np.random.default_rng(7)
W = RNG.uniform(0.2, 2.0, SHAPE)
ROW = RNG.uniform(0.3, 1.5, 4)
Y = np.array([[0.0, 1.0, 5.0, 2.0], [3.0, 0.0, 0.5, 40.0], [1.0, 2.0, 0.0, 7.0]])
B = RNG.uniform(0.1, 1.0, SHAPE)
L = np.where(RNG.uniform(size=SHAPE) > 0.5, 1.0, -1.0)
C = RNG.normal(size=SHAPE)


def log_cosh(x: Any) -> Any:
    return np.abs(x) + np.log1p(np.exp(-2 * np.abs(x))) - np.log(LONG(2))


def xlogx(u: Any) -> Any:
    return np.where(u > 0, u * np.log(np.where(u > 0, u, 1)), 0)


def magnitude(w: Any) -> Scalar:
    return Scalar(lambda u: w * np.abs(u), lambda u: w * np.sign(u))


def square(w: Any) -> Scalar:
    return Scalar(lambda u: w * u * u, lambda u: 2 * w * u)


def net(a: Any, b: Any) -> Scalar:
    return Scalar(lambda u: a * np.abs(u) + b * u * u, lambda u: a * np.sign(u) + 2 * b * u)


def huber(d: Any) -> Scalar:
    def value(u: Any) -> Any:
        return np.where(np.abs(u) <= d, u * u / 2, d * (np.abs(u) - d / 2))

    return Scalar(value, lambda u: np.clip(u, -d, d))


def charbonnier(e: Any) -> Scalar:
    return Scalar(lambda u: u * u / (np.sqrt(u * u + e * e) + e), lambda u: u / np.sqrt(u * u + e * e))


def softened(s: Any) -> Scalar:
    return Scalar(lambda u: s * log_cosh(u / s), lambda u: np.tanh(u / s))


def cauchy(s: Any) -> Scalar:
    return Scalar(lambda u: s * s / 2 * np.log1p(u * u / s**2), lambda u: u / (1 + u * u / s**2), convex=False)


def geman_mcclure(s: Any) -> Scalar:
    def slope(u: Any) -> Any:
        return u / (1 + u * u / s**2) ** 2

    return Scalar(lambda u: u * u / 2 / (1 + u * u / s**2), slope, convex=False)


def truncated(tau: Any) -> Scalar:
    return Scalar(lambda u: np.minimum(u * u, tau**2) / 2, lambda u: np.where(np.abs(u) < tau, u, 0), convex=False)


def counted(w: Any) -> Scalar:
    return Scalar(lambda u: w * (u != 0), lambda u: 0 * u, convex=False)


def rooted(w: Any) -> Scalar:
    def slope(u: Any) -> Any:
        size = np.abs(u)
        return w * np.sign(u) / (2 * np.sqrt(np.where(size > 0, size, 1)))

    return Scalar(lambda u: w * np.sqrt(np.abs(u)), slope, convex=False)


def poisson(y: Any, b: Any) -> Scalar:
    def value(u: Any) -> Any:
        s = u + b
        with np.errstate(divide="ignore"):
            logs = y * (np.log(np.where(y > 0, y, 1)) - np.log(np.where(y > 0, s, 1)))
        return s - y + np.where(y > 0, logs, 0)

    def slope(u: Any) -> Any:
        with np.errstate(divide="ignore"):
            return 1 - np.where(y > 0, y / np.where(y > 0, u + b, 1), 0)

    return Scalar(value, slope, low=-b)


def barrier() -> Scalar:
    with np.errstate(divide="ignore"):
        return Scalar(lambda u: -np.log(u), lambda u: -1 / u, low=0.0)


def information() -> Scalar:
    return Scalar(xlogx, lambda u: np.log(u) + 1, low=0.0)


def logistic(labels: Any) -> Scalar:
    return Scalar(lambda u: np.logaddexp(0, -labels * u), lambda u: -labels / (1 + np.exp(np.minimum(labels * u, 1e4))))


def hinge(labels: Any) -> Scalar:
    return Scalar(lambda u: np.maximum(0, 1 - labels * u), lambda u: np.where(labels * u < 1, -labels, 0.0))


def quantile(level: Any) -> Scalar:
    return Scalar(lambda u: np.maximum(level * u, (level - 1) * u), lambda u: np.where(u > 0, level, level - 1.0))


def line(c: Any) -> Scalar:
    return Scalar(lambda u: c * u, lambda u: c + 0 * u)


def interval(low: Any, high: Any) -> Scalar:
    return Scalar(lambda u: 0 * u, lambda u: 0 * u, low, high)


def far(low: Any, high: Any) -> Scalar:
    return Scalar(lambda u: (u - np.clip(u, low, high)) ** 2, lambda u: 2 * (u - np.clip(u, low, high)))


def support(low: Any, high: Any) -> Scalar:
    return Scalar(lambda u: np.maximum(u * low, u * high), lambda u: np.where(u > 0, high, low) + 0 * u)


RADIAL = {
    "norm1": (fs.Norm1(), magnitude(1.0)),
    "norm1-number": (fs.Norm1(weights=0.7), magnitude(0.7)),
    "norm1-entries": (fs.Norm1(weights=W), magnitude(W)),
    "norm1-zeros": (fs.Norm1(weights=[0.0, 1.0, 0.0, 2.0]), magnitude(np.array([0.0, 1.0, 0.0, 2.0]))),
    "norm1-parameter": (fs.Norm1(weights=oa.Parameter(ROW, nonneg=True)), magnitude(ROW)),
    "sum_squares": (fs.SumSquares(), square(1.0)),
    "sum_squares-entries": (fs.SumSquares(weights=W), square(W)),
    "sum_squares-parameter": (fs.SumSquares(weights=oa.Parameter(W, nonneg=True)), square(W)),
    "quadratic": (fs.Quadratic(oa.Diagonal(W)), square(W)),
    "elastic_net": (fs.ElasticNet(0.6, 0.4), net(0.6, 0.4)),
    "elastic_net-entries": (fs.ElasticNet(W, ROW), net(W, ROW)),
    "elastic_net-parameters": (
        fs.ElasticNet(oa.Parameter(0.6, nonneg=True), oa.Parameter(W, nonneg=True)),
        net(0.6, W),
    ),
    "huber": (fs.Huber(0.8), huber(0.8)),
    "huber-entries": (fs.Huber(W), huber(W)),
    "huber-parameter": (fs.Huber(oa.Parameter(ROW, positive=True)), huber(ROW)),
    "charbonnier": (fs.Charbonnier(0.3), charbonnier(0.3)),
    "charbonnier-entries": (fs.Charbonnier(W), charbonnier(W)),
    "charbonnier-parameter": (fs.Charbonnier(oa.Parameter(0.01, positive=True)), charbonnier(0.01)),
    "log_cosh": (fs.LogCosh(0.4), softened(0.4)),
    "log_cosh-entries": (fs.LogCosh(W), softened(W)),
    "log_cosh-parameter": (fs.LogCosh(oa.Parameter(ROW, positive=True)), softened(ROW)),
    "ball_inf": (fs.Indicator(oa.ball_inf(ROW)), interval(-ROW, ROW)),
}
NONCONVEX = {
    "cauchy": (fs.Cauchy(0.9), cauchy(0.9)),
    "cauchy-entries": (fs.Cauchy(W), cauchy(W)),
    "geman_mcclure": (fs.GemanMcClure(1.1), geman_mcclure(1.1)),
    "geman_mcclure-parameter": (fs.GemanMcClure(oa.Parameter(ROW, positive=True)), geman_mcclure(ROW)),
    "truncated_quadratic": (fs.TruncatedQuadratic(1.3), truncated(1.3)),
    "truncated_quadratic-entries": (fs.TruncatedQuadratic(W), truncated(W)),
    "norm0": (fs.Norm0(), counted(1.0)),
    "norm0-entries": (fs.Norm0(weights=W), counted(W)),
    "norm_half": (fs.NormHalf(), rooted(1.0)),
    "norm_half-parameter": (fs.NormHalf(weights=oa.Parameter(W, nonneg=True)), rooted(W)),
}
REAL = {
    "kl": (fs.KLDivergence(Y), poisson(Y, 0.0)),
    "kl-background": (fs.KLDivergence(Y, background=B), poisson(Y, B)),
    "kl-number": (fs.KLDivergence(3.0, background=0.5), poisson(3.0, 0.5)),
    "kl-parameters": (fs.KLDivergence(oa.Parameter(Y, nonneg=True), background=oa.Parameter(0.2)), poisson(Y, 0.2)),
    "log_barrier": (fs.LogBarrier(), barrier()),
    "entropy": (fs.Entropy(), information()),
    "logistic": (fs.Logistic(L), logistic(L)),
    "logistic-parameter": (fs.Logistic(oa.Parameter(L)), logistic(L)),
    "hinge": (fs.Hinge(L), hinge(L)),
    "quantile": (fs.Quantile(0.8), quantile(0.8)),
    "quantile-entries": (fs.Quantile(W / 2.5), quantile(W / 2.5)),
    "linear": (fs.Linear(C), line(C)),
    "linear-number": (fs.Linear(-2.0), line(-2.0)),
    "nonneg": (fs.Indicator(oa.nonneg), interval(0.0, np.inf)),
    "box": (fs.Indicator(oa.box(-W, 0.5)), interval(-W, 0.5)),
    "squared_distance": (fs.SquaredDistance(oa.box(-0.5, W)), far(-0.5, W)),
    "support_function": (fs.SupportFunction(oa.box(-W, 0.5)), support(-W, 0.5)),
}
CONVEX = {**RADIAL, **REAL}
SCALARS = {**CONVEX, **NONCONVEX}
SMOOTH = {
    name: case
    for name, case in SCALARS.items()
    if name.split("-")[0]
    in {
        *(
            "sum_squares",
            "quadratic",
            "huber",
            "charbonnier",
            "log_cosh",
            "cauchy",
            "geman_mcclure",
            "logistic",
            "linear",
        ),
        "squared_distance",
    }
}
FAMILIES = (
    *("norm1-entries", "sum_squares", "quadratic", "elastic_net", "huber-entries", "charbonnier", "log_cosh"),
    *("ball_inf", "kl-background", "log_barrier", "entropy", "logistic", "hinge", "quantile", "linear", "nonneg"),
    *("box", "squared_distance", "support_function", "cauchy", "geman_mcclure-parameter", "truncated_quadratic"),
    *("norm0-entries", "norm_half"),
)
