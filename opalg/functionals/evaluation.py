"""Functionals at arrays: what happens when one is evaluated, once for each sort of array and then at little cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, isfinite, isnan, log2, prod, sqrt
from typing import Any

import numpy as np

from opalg.arrays import Backend, backend_of, library_name
from opalg.arrays.backend import precision_of
from opalg.emit import call
from opalg.errors import DtypeError, ParameterError, ShapeError, UnsupportedError
from opalg.facts import NO, YES
from opalg.program.expression import Expression, Input, Literal

_KEPT = 32  # programs of one functional


@dataclass(frozen=True)
class _Program:
    """What is kept for arrays of one sort: a program, and what its calls ask of the functional."""

    outputs: list[Expression]
    inputs: list[Input]
    kind: str
    lib: Backend
    degree: float | None  # of homogeneity, where entries are squared, so that the unit of the argument is chosen


def value_at(functional: Any, v: Any) -> float:
    """The value of a functional at an array; infinity outside its domain.

    What overflows single precision on the way is tried in double.
    """
    known = _program(functional, "value", v, _value_program)
    (violation, _), (x,), lib = known.outputs, known.inputs, known.lib
    if not is_zero(violation) and not is_within(call([violation], [x], [v], lib)[0], v, lib):
        return float("inf")  # the formula of the value need not make sense out here
    if precision_of(v) != "float32":
        return _value_inside(known, v)
    with np.errstate(over="ignore"):  # looked for here
        found = _value_inside(known, v)
    if isfinite(found):
        return found
    v = backend_of(v, "float64").asarray(v)
    again = _value_inside(_program(functional, "value", v, _value_program), v)
    return found if isnan(again) else again


def _value_inside(known: _Program, v: Any) -> float:
    """The value at an array of the domain."""
    v, unit = in_safe_units(v, known.degree, known.kind, known.lib)
    number = known.lib.item(call(known.outputs[1:], known.inputs, [v], known.lib)[0]).real
    return number if unit == 1.0 else float(unit**known.degree * number)  # type: ignore[operator]


def _value_program(functional: Any, x: Input) -> tuple[list[Expression], list[Input]]:
    return [functional.define_violation(x), functional.define_value(x)], [x]


def gradient_at(functional: Any, v: Any) -> Any:
    """The gradient of a functional at an array."""
    known = _program(functional, "gradient", v, _gradient_program)
    return call(known.outputs, known.inputs, [v], known.lib)[0]


def _gradient_program(functional: Any, x: Input) -> tuple[list[Expression], list[Input]]:
    return [functional.define_gradient(x)], [x]


def hessian_product_at(functional: Any, v: Any, direction: Any) -> Any:
    """The Hessian of a functional at an array times a direction."""
    known = _program(functional, "hessian", v, _hessian_program)
    if tuple(direction.shape) != tuple(v.shape):
        raise ShapeError(f"the direction has shape {tuple(direction.shape)}, the point {tuple(v.shape)}")
    return call(known.outputs, known.inputs, [v, known.lib.asarray(direction, known.kind)], known.lib)[0]


def _hessian_program(functional: Any, x: Input) -> tuple[list[Expression], list[Input]]:
    d = Input("d", x.shape, x.kind)
    return [functional.define_hessian_product(x, d)], [x, d]


def prox_at(functional: Any, v: Any, t: Any) -> Any:
    """The prox of a functional at an array, with one step or one for each sample."""
    shape, batch = tuple(getattr(v, "shape", ())), tuple(getattr(t, "shape", ()))
    if batch and not (prod(batch) == 1 and shape[: len(batch)] != batch):
        return _batched_prox(functional, v, t)
    known = _program(functional, "prox", v, _prox_program)
    if isinstance(t, complex) or "complex" in str(getattr(t, "dtype", "")) or not 0 <= float(t) < inf:
        raise ParameterError(f"the step t of a prox must be finite and nonnegative, not {t!r}")
    step, lib = float(t), known.lib
    if step == 0:
        known = _program(functional, "projection", v, _projection_program)
        return call(known.outputs, known.inputs, [v], lib)[0]
    v, unit = in_safe_units(v, known.degree, known.kind, lib)
    found = call(known.outputs, known.inputs, [v, step * _of_step(unit, known.degree)], lib)[0]
    return found if unit == 1.0 else found * lib.asarray(unit)


def _of_step(unit: float, degree: float | None) -> float:
    """The factor of the step: ``prox_{t f}(s v) = s prox_{s^(d - 2) t f}(v)`` for degree d and unit s."""
    return 1.0 if degree is None else unit ** (degree - 2.0)


def _projection_program(functional: Any, x: Input) -> tuple[list[Expression], list[Input]]:
    return [functional.define_prox(x, Literal(0.0))], [x]


def _prox_program(functional: Any, x: Input) -> tuple[list[Expression], list[Input]]:
    step = Input("t", (), "real", role="control")
    return [functional.define_prox(x, step)], [x, step]


def _batched_prox(functional: Any, v: Any, t: Any) -> Any:
    own = len(getattr(v, "shape", ())) - len(t.shape)
    placed = functional.behind(len(t.shape)) if own > 0 else functional  # a step for each entry moves no axes
    v, kind, lib = checked_argument(v, placed)
    shape, batch = tuple(v.shape), tuple(t.shape)
    if shape[: len(batch)] != batch:
        raise ShapeError(
            f"the steps of a prox have shape {batch}, the argument {shape}; give one step, or an array whose shape "
            f"is that of leading axes of the argument"
        )
    steps = lib.asarray(t)
    if lib.kind_of(steps) != "real" or (0 not in batch and not _are_steps(steps, lib)):
        raise ParameterError("the steps t of a prox must be real, finite and nonnegative")
    steps = lib.xp.reshape(steps, batch + (1,) * (len(shape) - len(batch)))
    x, step = Input("v", shape, kind), Input("t", tuple(steps.shape))
    degree = _degree(functional, "prox")
    v, unit = in_safe_units(v, degree, kind, lib)
    if unit != 1.0:
        steps = steps * lib.asarray(_of_step(unit, degree))
    found = call([placed.define_prox(x, step)], [x, step], [v, steps], lib)[0]
    return found if unit == 1.0 else found * lib.asarray(unit)


def _are_steps(steps: Any, lib: Backend) -> bool:
    return lib.item(lib.xp.min(steps)).real >= 0 and lib.item(lib.xp.max(steps)).real < inf


def _program(
    functional: Any, what: str, v: Any, build: Callable[[Any, Input], tuple[list[Expression], list[Input]]]
) -> _Program:
    """The program for an array that was checked; kept on the functional for each sort of array."""
    kept: dict[Any, _Program] = functional.__dict__.setdefault("_programs", {})
    key = (what, type(v), *(getattr(v, name, None) for name in ("shape", "dtype", "device")))
    found = kept.get(key)
    if found is None:
        v, kind, lib = checked_argument(v, functional)
        made = build(functional, Input("v", tuple(v.shape), kind))
        found = _Program(*made, kind, lib, _degree(functional, what))
        if len(kept) >= _KEPT:
            kept.clear()
        kept[key] = found
    return found


def _degree(functional: Any, what: str) -> float | None:
    """The degree of homogeneity of a functional that squares entries for what is computed; None for others."""
    if not functional.squares:
        return None
    facts = functional.facts
    degree: float | None = facts.homogeneity
    return None if what != "value" and facts.separable is YES else degree


def in_safe_units(v: Any, degree: float | None, kind: str, lib: Backend) -> tuple[Any, float]:
    """An array over a power of two and that power, where squares of its entries would overflow or vanish.

    Only for homogeneous functionals that square entries: to them the unit does not matter.
    """
    if degree is None or 0 in v.shape:
        return v, 1.0
    ends = (lib.xp.max(lib.xp.abs(v)),) if kind == "complex" else (lib.xp.max(v), lib.xp.min(v))
    largest = max(abs(float(lib.item(end).real)) for end in ends)
    if largest == 0 or not isfinite(largest) or sqrt(lib.tiny) * 1e6 < largest < 1e-6 / sqrt(lib.tiny):
        return v, 1.0
    unit = 2.0 ** round(log2(largest))
    return v * lib.asarray(1.0 / unit), unit


def checked_argument(v: Any, owner: Any) -> tuple[Any, str, Backend]:
    """An array that a functional or set was given, its kind and its backend; raises where it does not fit."""
    if library_name(v) is None:
        raise DtypeError(f"{owner!r} takes arrays of NumPy, CuPy or Torch, not {type(v).__name__}")
    if not any(word in str(v.dtype) for word in ("float", "complex")):
        raise DtypeError(f"{owner!r} was given dtype {v.dtype}; convert it to a floating dtype first")
    owner.check_shape(tuple(v.shape))
    lib = backend_of(v)
    kind = lib.kind_of(v)
    owner.check_kind(kind)
    return v, kind, lib


def is_within(violation: Any, v: Any, lib: Backend) -> bool:
    """Whether a violation is no more than the rounding of v's largest entry."""
    scale = 1.0 + lib.item(lib.xp.max(lib.xp.abs(v))).real if 0 not in v.shape else 1.0
    return bool(lib.item(violation).real <= 10 * lib.epsilon * scale)


def need(functional: Any, ability: str) -> None:
    """Raise where a functional does not offer an ability, and say why.

    Raises
    ------
    UnsupportedError
        Where it is missing.
    """
    found = functional.__dict__.setdefault("_offered", set())
    if ability in found:
        return
    if not functional.offers(ability):
        reason = functional.why_not(ability) or _usual_reason(functional, ability)
        raise UnsupportedError(f"{functional!r} has no {ability.replace('_', ' ')}: {reason}")
    found.add(ability)


def _usual_reason(functional: Any, ability: str) -> str:
    """Why an ability is missing, where the functional itself has nothing to say."""
    known = functional.facts
    if ability == "gradient":
        smooth = "is not" if known.smooth is NO else "is not known to be"
        return f"it {smooth} differentiable" + ("; use its prox" if functional.offers("prox") else "")
    if ability == "prox":
        return "no formula of it is known"
    if known.convex is YES:
        return "no formula of its conjugate is known"
    return f"it {'is not' if known.convex is NO else 'is not known to be'} convex"


def check_differentiable(functional: Any, v: Any) -> None:
    """Raise where a functional has no gradient at an array.

    Raises
    ------
    UnsupportedError
        Where it is not differentiable.
    ParameterError
        Where it is inside its domain only, and the array lies outside, or where its gradient is infinite.
    """
    if "gradient" in functional.__dict__.get("_offered", ()):
        return
    if functional.offers("gradient") or not functional.differentiable_inside:
        need(functional, "gradient")
        return
    remedy = "give one inside, such as a prox gives"
    if value_at(functional, v) == float("inf"):
        raise ParameterError(f"the array lies outside the domain of {functional!r}, so there is no gradient; {remedy}")
    with np.errstate(divide="ignore", invalid="ignore"):
        lib, found = backend_of(v), gradient_at(functional, v)
    if not lib.xp.all(lib.xp.logical_or(lib.xp.isfinite(found), lib.xp.isnan(v))):
        raise ParameterError(
            f"the array lies on the border of the domain of {functional!r}, where its gradient is infinite; {remedy}"
        )


def is_zero(expression: Expression) -> bool:
    """Whether an expression is the number 0."""
    return isinstance(expression, Literal) and expression.value == 0


__all__ = [
    "check_differentiable",
    "checked_argument",
    "gradient_at",
    "hessian_product_at",
    "in_safe_units",
    "is_within",
    "is_zero",
    "need",
    "prox_at",
    "value_at",
]
