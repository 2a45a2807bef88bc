"""The peak of the memory that Torch holds for tensors, counted allocation by allocation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def peak_bytes(action: Callable[[], Any]) -> int:
    """The most bytes of tensors on the processor that an action holds at one time, beyond those held before it."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as seen:
        action()
    changes = [e for e in seen.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = peak = 0
    for event in sorted(changes, key=lambda e: e.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak
