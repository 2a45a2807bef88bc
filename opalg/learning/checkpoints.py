"""Training states in one file, tensors by safetensors and all else as JSON: no code is run by reading it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from opalg.errors import ParameterError, UnsupportedError

FORMAT = "opalg training 1"


def save_state(path: Any, state: Mapping[str, Any]) -> Path:
    """Write nested dicts and lists of tensors, numbers, texts and None into a file, all at once.

    Parameters
    ----------
    path : str or Path
        A file that is there already is replaced when the new one is complete; folders are made.
    state : mapping

    Raises
    ------
    UnsupportedError
        Where safetensors is not installed, or something else is among the values.
    """
    from torch import Tensor, view_as_real

    files = _safetensors()
    tensors: dict[str, Any] = {}

    def written(value: Any, place: str) -> Any:
        if isinstance(value, Tensor):
            name = place if place not in tensors else f"{place}#{len(tensors)}"
            plain = value.detach().cpu().resolve_conj().resolve_neg()
            order = sorted(range(plain.ndim), key=plain.stride, reverse=True)
            plain = plain.permute(order)  # sums depend to the last bit on the order of entries in memory
            tensors[name] = (view_as_real(plain) if plain.is_complex() else plain).contiguous().clone()
            kind = "complex" if plain.is_complex() else "tensor"
            return {kind: name, "device": str(value.device), "order": order}
        if isinstance(value, Mapping):
            keys = [k if isinstance(k, (str, int)) else _refuse(k, place) for k in value]
            return {"dict": [[k, written(value[k], f"{place}/{k}")] for k in keys]}
        if isinstance(value, (list, tuple)):
            items = [written(v, f"{place}/{i}") for i, v in enumerate(value)]
            return {"list" if isinstance(value, list) else "tuple": items}
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or isinstance(value, (str, bool, int, float)):
            return {"value": value}
        return _refuse(value, place)

    text = json.dumps(written(dict(state), ""))
    where, spare = Path(path), Path(f"{path}.partial")
    where.parent.mkdir(parents=True, exist_ok=True)
    files.save_file(tensors, spare, metadata={"format": FORMAT, "state": text})
    os.replace(spare, where)
    return where


def load_state(path: Any) -> dict[str, Any]:
    """What `save_state` wrote, tensors on the devices they came from, or on the processor where these are not there.

    Raises
    ------
    ParameterError
        For a file of another kind.
    UnsupportedError
        Where safetensors is not installed.
    """
    files = _safetensors()
    import torch
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
        tensors = files.load_file(str(path))
    except (SafetensorError, OSError) as error:
        raise ParameterError(f"{path} is no checkpoint of opalg: {error}") from error
    if metadata.get("format") != FORMAT:
        raise ParameterError(f"{path} is no checkpoint of opalg; its format is {metadata.get('format')!r}")

    def read(value: Any) -> Any:
        ((kind, content),) = [(k, v) for k, v in value.items() if k not in ("device", "order")]
        if kind in ("tensor", "complex"):
            there = value["device"] if torch.cuda.is_available() else "cpu"
            plain = torch.view_as_complex(tensors[content]) if kind == "complex" else tensors[content]
            order = value["order"]
            plain = plain.clone()  # what is read lies anywhere in memory, and sums depend on where, too
            return plain.permute([order.index(i) for i in range(len(order))]).to(there)
        if kind == "dict":
            return {k: read(v) for k, v in content}
        if kind in ("list", "tuple"):
            items = [read(v) for v in content]
            return items if kind == "list" else tuple(items)
        return content

    found: dict[str, Any] = read(json.loads(metadata["state"]))
    return found


def _safetensors() -> Any:
    try:
        import safetensors.torch
    except ModuleNotFoundError:
        raise UnsupportedError("checkpoints of training need safetensors: pip install safetensors") from None
    return safetensors.torch


def _refuse(value: Any, place: str) -> Any:
    raise UnsupportedError(
        f"a checkpoint holds tensors, numbers and texts, but {place or 'the state'} holds {type(value).__name__}"
    )


__all__ = ["load_state", "save_state"]
