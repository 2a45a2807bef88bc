"""Spectral normalisation of networks that stands still while a fixed point is sought, and moves between steps."""

from __future__ import annotations

from typing import Any

from opalg.errors import ParameterError


def normalise_spectra(network: Any, iterations: int = 15) -> Any:
    """Divide the weights of all convolutions and linear layers by their largest singular values.

    Parameters
    ----------
    network : torch.nn.Module
        Changed in place, by Torch's parametrisations, and set to evaluation mode.
    iterations : int
        Power iterations to begin with; `refresh_spectra` makes one more at a time. Layers that are normalised already
        make as many more.

    Returns
    -------
    torch.nn.Module
        The network.

    Raises
    ------
    ParameterError
        Where it has no such layer or one whose weight has no shape yet, and for a number of iterations that is no
        positive integer.

    Notes
    -----
    In training mode Torch makes a power iteration at every use of a weight, so that a map of the network drifts while
    its fixed point is sought; in evaluation mode it is one map. A convolution is measured as the matrix of its
    weights, which bounds its norm as an operator up to a factor (Miyato et al. 2018, Section 2.2); layers that
    normalise activations undo the bound altogether.
    """
    import torch
    from torch.nn.modules.lazy import LazyModuleMixin
    from torch.nn.utils.parametrizations import spectral_norm

    kinds = (
        torch.nn.Linear,
        torch.nn.Conv1d,
        torch.nn.Conv2d,
        torch.nn.Conv3d,
        torch.nn.ConvTranspose1d,
        torch.nn.ConvTranspose2d,
        torch.nn.ConvTranspose3d,
    )
    if isinstance(iterations, bool) or not isinstance(iterations, int) or iterations < 1:
        raise ParameterError(f"the power iterations to begin with are a positive integer, not {iterations!r}")
    _check_network(network)
    layers = [m for m in network.modules() if isinstance(m, kinds)]
    if not layers:
        raise ParameterError(f"{type(network).__name__} has no linear layer or convolution to normalise")
    for layer in layers:
        if isinstance(layer, LazyModuleMixin) and layer.has_uninitialized_params():
            raise ParameterError(
                f"{type(layer).__name__} has no weight to normalise before it has seen its first input; call the "
                f"network once with an example, network(torch.zeros(...)), and normalise it then"
            )
    fresh = [layer for layer in layers if not _normalised(layer)]
    for layer in fresh:
        spectral_norm(layer, n_power_iterations=iterations)
        for _, part in _normalised(layer):
            part.n_power_iterations = 1
    if len(fresh) < len(layers):
        for _ in range(iterations):
            refresh_spectra(network)
    return network.eval()


def refresh_spectra(network: Any) -> int:
    """Make one power iteration for every spectrally normalised weight; how many there are.

    Parameters
    ----------
    network : torch.nn.Module
        It stays in the mode in which it is.

    Returns
    -------
    int

    Raises
    ------
    ParameterError
        For what is no network.
    """
    import torch

    _check_network(network)
    count = 0
    with torch.no_grad():
        for layer in network.modules():
            own = _normalised(layer)
            modes = [part.training for _, part in own]
            for _, part in own:
                part.train()
            for name in dict.fromkeys(name for name, _ in own):
                getattr(layer, name)  # Torch makes the power iteration where a weight is used in training mode
                count += 1
            for (_, part), mode in zip(own, modes, strict=True):
                part.train(mode)
    return count


def _check_network(network: Any) -> None:
    import torch

    if not isinstance(network, torch.nn.Module):
        raise ParameterError(f"weights to normalise are those of a torch.nn.Module, not of {type(network).__name__}")


def _normalised(layer: Any) -> list[tuple[str, Any]]:
    """The spectral normalisations of a layer, each with the name of its weight."""
    held = getattr(layer, "parametrizations", {})
    return [(name, p) for name, parts in held.items() for p in parts if hasattr(p, "n_power_iterations")]


__all__ = ["normalise_spectra", "refresh_spectra"]
