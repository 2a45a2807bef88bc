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
        Power iterations to begin with; `refresh_spectra` makes one more at a time.

    Returns
    -------
    torch.nn.Module
        The network.

    Raises
    ------
    ParameterError
        Where it has no such layer.

    Notes
    -----
    In training mode Torch makes a power iteration at every use of a weight, so that a map of the network drifts while
    its fixed point is sought; in evaluation mode it is one map. A convolution is measured as the matrix of its
    weights, which bounds its norm as an operator up to a factor (Miyato et al. 2018, Section 2.2); layers that
    normalise activations undo the bound altogether.
    """
    import torch
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
    layers = [m for m in network.modules() if isinstance(m, kinds)]
    if not layers:
        raise ParameterError(f"{type(network).__name__} has no linear layer or convolution to normalise")
    for layer in layers:
        spectral_norm(layer, n_power_iterations=iterations)
        for part in layer.parametrizations.weight:
            part.n_power_iterations = 1
    return network.eval()


def refresh_spectra(network: Any) -> int:
    """Make one power iteration for every spectrally normalised weight; how many there are.

    Parameters
    ----------
    network : torch.nn.Module
        It stays in the mode in which it is.
    """
    import torch

    count = 0
    with torch.no_grad():
        for layer in network.modules():
            for name, parts in getattr(layer, "parametrizations", {}).items():
                own = [p for p in parts if hasattr(p, "n_power_iterations")]
                modes = [p.training for p in own]
                for part in own:
                    part.train()
                if own:
                    getattr(layer, name)
                    count += 1
                for part, mode in zip(own, modes, strict=True):
                    part.train(mode)
    return count


__all__ = ["normalise_spectra", "refresh_spectra"]
