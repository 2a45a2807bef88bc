"""Weights of networks that stay nonnegative in training, as those of input-convex networks must."""

from __future__ import annotations

from typing import Any

from opalg.errors import ParameterError

SMALLEST = 1e-6  # where a weight begins that is zero, since softplus and exp do not reach zero


def keep_nonnegative(*layers: Any, way: str = "softplus") -> None:
    """Write the weights of layers as nonnegative functions of free numbers, so that no step makes them negative.

    Parameters
    ----------
    *layers : torch.nn.Module
        Layers with a ``weight``, changed in place; of an input-convex network all that act on the results of other
        layers, but neither the first one nor those that act on the input itself. Biases stay free.
    way : {"softplus", "exp", "clamp"}
        The function. With ``"clamp"`` weights may be zero, and one that is does not learn any more.

    Raises
    ------
    ParameterError
        For a layer without weights or with weights that are kept already, none at all, and another way.

    Notes
    -----
    Weights begin at their absolute values. With nonnegative weights and convex nondecreasing activations a network is
    convex in its input (Amos, Xu and Kolter 2017, Proposition 1), which is what `opalg.input_convex` takes on trust.

    Examples
    --------
    >>> import opalg as oa
    >>> import torch
    >>> first, last = torch.nn.Linear(4, 8), torch.nn.Linear(8, 1)
    >>> oa.learning.keep_nonnegative(last)
    >>> bool((last.weight >= 0).all())
    True
    """
    import torch
    from torch.nn.utils import parametrize

    from opalg.implicit.torch_domains import WAYS, Clamp, Exp, Softplus

    if way not in WAYS:
        raise ParameterError(f"way must be one of {WAYS}, not {way!r}")
    if not layers:
        raise ParameterError("name the layers whose weights stay nonnegative: keep_nonnegative(net.second, net.last)")
    for layer in layers:
        weight = getattr(layer, "weight", None)
        if not isinstance(weight, torch.Tensor):
            raise ParameterError(
                f"{type(layer).__name__} has no weight; name the layers themselves, those behind the first one"
            )
        if parametrize.is_parametrized(layer, "weight"):
            raise ParameterError(f"the weight of {type(layer).__name__} is a function of other numbers already")
    for layer in layers:
        with torch.no_grad():
            layer.weight.abs_()
            if way != "clamp":
                layer.weight.clamp_(min=SMALLEST)
        made = {"softplus": Softplus, "exp": Exp}[way]() if way != "clamp" else Clamp(0.0)
        parametrize.register_parametrization(layer, "weight", made)


__all__ = ["keep_nonnegative"]
