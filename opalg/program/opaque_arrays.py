"""What opaque functions work on and give back: Torch modules and arrays, looked at before they are used."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from opalg.arrays import Backend, library_name, precision_of
from opalg.errors import DeviceError, DtypeError, ShapeError, UnsupportedError

_CHANGING = {"_DropoutNd", "_SpectralNorm", "SpectralNorm"}  # layers that give something else at each call in training
_GATHERING = {"_NormBase"}  # layers that gather statistics in training


def module_of(function: Any) -> Any:
    """The Torch module that a callable is, or is a method of; None where it is none."""
    for candidate in (function, getattr(function, "__self__", None)):
        if any(c.__name__ == "Module" and c.__module__.startswith("torch.") for c in type(candidate).__mro__):
            return candidate
    return None


def identity_of(function: Any) -> Any:
    """What tells callables apart: a method by its object and its function, anything else by itself."""
    owner, plain = getattr(function, "__self__", None), getattr(function, "__func__", None)
    return (id(owner), id(plain)) if owner is not None and plain is not None else id(function)


def first_weight(module: Any) -> Any:
    """The first parameter or buffer that holds numbers; None where there is none."""
    if module is None:
        return None
    for group in ("_parameters", "_buffers"):  # looked at before every call, where Torch's own way takes ten times that
        for layer in module.modules():
            for tensor in getattr(layer, group).values():
                if tensor is not None and (tensor.is_floating_point() or tensor.is_complex()):
                    return tensor
    return None


def check_weight(weight: Any, name: str, lib: Backend) -> None:
    """Raise DtypeError where a weight of a network is of another precision than the arrays."""
    if weight.dtype not in (lib.dtypes["real"], lib.dtypes["complex"]):
        found = str(weight.dtype).rpartition(".")[2]
        raise DtypeError(
            f"the network {name} holds {found} weights, but the arrays are {lib.precision}; convert the data or say "
            f"oa.compile(..., dtype={precision_of(weight) or 'float32'!r}), or convert it with "
            f"{name}.{'float' if lib.precision == 'float32' else 'double'}()"
        )
    place, own = lib.device, weight.device
    if own.type != place.type or (place.index is not None and own.index not in (None, place.index)):
        raise DeviceError(
            f"the network {name} lives on {own}, but the arrays on {place}; move it with {name}.to({str(place)!r}), or "
            f"say oa.compile(..., device={str(own)!r})"
        )


def unsteady_layer(module: Any) -> str | None:
    """The first layer in training mode that changes from call to call there; None where there is none."""
    if not module.training:
        return None
    for layer in module.modules():
        if not layer.training:
            continue
        names = {c.__name__ for c in type(layer).__mro__}
        hooks = {type(h).__name__ for h in getattr(layer, "_forward_pre_hooks", {}).values()}
        gathering = names & _GATHERING and getattr(layer, "running_mean", None) is not None
        if (names | hooks) & _CHANGING or gathering:
            return type(layer).__name__
    return None


class recording:
    """A copy of a tensor that autograd follows, whatever mode the caller is in."""

    def __init__(self, x: Any) -> None:
        import torch

        self.x, self.modes = x, (torch.inference_mode(False), torch.enable_grad())

    def __enter__(self) -> Any:
        for mode in self.modes:
            mode.__enter__()
        return self.x.detach().clone().requires_grad_(True)

    def __exit__(self, *failure: Any) -> None:
        for mode in reversed(self.modes):
            mode.__exit__(*failure)


def unrecorded(lib: Backend) -> Any:
    """A context in which autograd records nothing."""
    if lib.name != "torch":
        return nullcontext()
    import torch

    return torch.no_grad()


def autograd(
    outputs: Any, inputs: Any, cotangent: Any, create_graph: bool = False, keep_graph: bool | None = None
) -> Any:
    """Torch's gradients, None where there is no way from an input to the outputs."""
    import torch

    return torch.autograd.grad(
        outputs, inputs, cotangent, create_graph=create_graph, retain_graph=keep_graph, allow_unused=True
    )


def followed(value: Any, name: str) -> Any:
    """A value that autograd has followed; raises where it has not."""
    if not getattr(value, "requires_grad", False):
        raise UnsupportedError(
            f"autograd cannot follow {name}: it leaves Torch, or detaches its argument; give vjp=function"
        )
    return value


def or_zero(found: Any, like: Any) -> Any:
    """A derivative without its graph, zero where autograd found no way."""
    import torch

    return torch.zeros_like(like).detach() if found is None else found.detach()


def plain_number(value: Any, lib: Backend) -> Any:
    """A strength as a number, where it is one and the library has numbers of its own; else as an array."""
    if lib.name != "torch" and tuple(getattr(value, "shape", ())) == ():
        return float(lib.item(value).real) if hasattr(value, "dtype") else float(value)
    return lib.asarray(value)


def inner_product(a: Any, b: Any, lib: Backend) -> Any:
    """``Re <a, b>`` as an array without axes."""
    product = lib.xp.conj(a) * b if lib.kind_of(a) == "complex" else a * b
    total = lib.xp.sum(product)
    return lib.xp.real(total) if lib.kind_of(total) == "complex" else total


def checked(value: Any, x: Any, name: str, lib: Backend, keeps_shape: bool) -> Any:
    """A fresh array of the library and the precision of x."""
    _check_array(value, name, lib)
    if keeps_shape and tuple(value.shape) != tuple(x.shape):
        raise ShapeError(
            f"{name} returned shape {tuple(value.shape)} for shape {tuple(x.shape)}; it must keep the shape"
        )
    if value.ndim != x.ndim:
        raise ShapeError(f"{name} returned shape {tuple(value.shape)} for shape {tuple(x.shape)}")
    kind = lib.kind_of(value)
    if kind == "complex" and lib.kind_of(x) != "complex":
        raise DtypeError(f"{name} returned a complex array for a real one; let it return the real part")
    fresh = lib.asarray(value, lib.kind_of(x))
    return lib.copy(fresh)


def summed(value: Any, x: Any, name: str, lib: Backend) -> Any:
    """The sum of what a scalar network returned, as an array without axes."""
    if isinstance(value, (int, float)) and not hasattr(value, "dtype"):
        return lib.asarray(float(value), "real")
    _check_array(value, name, lib)
    if lib.kind_of(value) == "complex":
        raise DtypeError(f"{name} returned complex numbers; the values of a functional are real")
    return lib.asarray(lib.xp.sum(value), "real")


def _check_array(value: Any, name: str, lib: Backend) -> None:
    if not lib.owns(value):
        raise UnsupportedError(
            f"{name} was given an array of {lib.name} but returned {library_name(value) or type(value).__name__}; let "
            f"it return an array of {lib.name}"
        )
    precision = precision_of(value)
    if precision is None:
        raise DtypeError(f"{name} returned dtype {value.dtype}; let it return floating point numbers")
    if precision == "float32" and lib.precision == "float64":
        raise DtypeError(
            f"{name} returned {value.dtype} for arrays of float64, which loses half the digits; let it compute in "
            f"float64, or say oa.compile(..., dtype='float32')"
        )
