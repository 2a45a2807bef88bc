"""Torch's own random numbers, written down so that a run can go on from there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def random_state() -> dict[str, Any]:
    """The states of Torch's generators, that of the processor and those of all graphics cards in use."""
    import torch

    cards = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": list(cards)}


def set_random_state(state: Mapping[str, Any]) -> None:
    """Go back to a state; those of graphics cards only where there are as many as there were."""
    import torch

    torch.set_rng_state(state["cpu"].cpu())
    if state["cuda"] and torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda"]])


__all__ = ["random_state", "set_random_state"]
