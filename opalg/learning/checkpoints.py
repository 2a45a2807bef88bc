"""Training states in one file, tensors by safetensors and all else as JSON: no code is run by reading it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np

from opalg.errors import ParameterError, UnsupportedError

FORMAT = "opalg training 1"
# What reading a file meets that was cut, or changed, or written by something else.
FOREIGN = (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)
ANEW = "give another checkpoint=, or remove the file to begin anew"
GIVEN = {  # what somebody types to have an entry of the setup as it was
    "parameters": "the model",
    "dtypes of parameters": "the model in the precision (dtype=) that it had",
    "parametrisations": "positive=",
    "models": "the model",
    "layers": "the model",
    "numbers in models": "the constants of the model",
    "values that are not trained": "the values of what is not trained",
    "what is trained": "wrt=",
    "optimisers and schedulers": "optimizer= and scheduler=",
    "penalties": "penalties=",
    "seed": "seed=",
}


def checked_path(path: Any) -> Path:
    """The path of a checkpoint, after a look at whether one can be written there; nothing is written, no folder made.

    Parameters
    ----------
    path : str or Path

    Raises
    ------
    ParameterError
        For what is no path of a file, a folder, and a place where this user cannot write.
    UnsupportedError
        Where safetensors is not installed.
    """
    _safetensors()
    if not isinstance(path, (str, os.PathLike)):
        raise ParameterError(f"checkpoint takes the path of a file, as in checkpoint='run.safetensors', not {path!r}")
    where = Path(path)
    try:
        if where.is_dir():
            raise ParameterError(
                f"checkpoint={str(path)!r} is a folder; give a file in it, as in "
                f"checkpoint={str(where / 'run.safetensors')!r}"
            )
        if where.exists() and not where.is_file():
            raise ParameterError(f"checkpoint={str(path)!r} is there, but no plain file; give another checkpoint=")
        folder = next(p for p in where.absolute().parents if p.exists())
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _unwritable(path, error) from error
    return where


def save_state(path: Any, state: Mapping[str, Any]) -> Path:
    """Write nested dicts and lists of tensors, numbers, texts and None into a file, all at once.

    Parameters
    ----------
    path : str or Path
        A file that is there already is replaced when the new one is complete; folders are made.
    state : mapping

    Raises
    ------
    ParameterError
        Where the file cannot be written; the one that is there already stays as it is.
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
    _write(files, Path(path), tensors, {"format": FORMAT, "state": text})
    return Path(path)


def _write(files: Any, where: Path, tensors: Mapping[str, Any], metadata: Mapping[str, str]) -> None:
    """Write a file beside the one that is wanted, which it replaces when it is complete and on the disk."""
    from safetensors import SafetensorError

    spare = Path(f"{where}.partial")
    try:
        where.parent.mkdir(parents=True, exist_ok=True)
        files.save_file(tensors, spare, metadata=metadata)
        with spare.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(spare, where)
    except (OSError, SafetensorError, ValueError) as error:  # ValueError: a path with a character that none may have
        raise _unwritable(where, error) from error
    finally:
        with suppress(OSError, ValueError):
            spare.unlink(missing_ok=True)


def _unwritable(path: Any, error: Exception) -> ParameterError:
    return ParameterError(
        f"the checkpoint {str(path)!r} cannot be written: {error}. Give another checkpoint=, in a folder where you may "
        f"write and with room on the disk; a checkpoint that was there before is as it was"
    )


def load_state(path: Any) -> dict[str, Any]:
    """What `save_state` wrote, tensors on the devices they came from, or on the processor where these are not there.

    Raises
    ------
    ParameterError
        For a file of another kind, and for one that was cut or changed.
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
        raise ParameterError(f"{path} is no checkpoint of opalg, or none that can be read: {error}; {ANEW}") from error
    if metadata.get("format") != FORMAT:
        raise ParameterError(
            f"{path} is no checkpoint of opalg: its format is {metadata.get('format')!r}, not {FORMAT!r}; {ANEW}"
        )

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

    try:
        found: dict[str, Any] = read(json.loads(metadata["state"]))
    except FOREIGN as error:
        raise foreign(path, error) from error
    check_entries(path, found, ())
    return found


def foreign(path: Any, error: Exception) -> ParameterError:
    """What to raise for a checkpoint whose content is none that opalg writes."""
    return ParameterError(
        f"{path} is no checkpoint of opalg, or was cut or changed: reading it met {type(error).__name__}: {error}; "
        f"{ANEW}"
    )


def check_entries(path: Any, state: Any, needed: Iterable[str]) -> None:
    """Raise ParameterError where a state is no mapping, or lacks entries."""
    if not isinstance(state, Mapping):
        raise ParameterError(f"{path} is no checkpoint of opalg: it holds {type(state).__name__}, no mapping; {ANEW}")
    missing = [name for name in needed if name not in state]
    if missing:
        raise ParameterError(
            f"the checkpoint {path} lacks {', '.join(missing)}: another version of opalg wrote it, or it was changed; "
            f"{ANEW}"
        )


def check_setup(path: Any, before: Any, now: Mapping[str, Any]) -> None:
    """Raise ParameterError where a run that was written down was set up otherwise than the one that is to go on.

    Parameters
    ----------
    path : path
        Of the checkpoint, for the message.
    before, now : mapping from name to numbers, texts, or mappings of them
    """
    check_entries(path, before, ())
    for what, value in now.items():
        if what not in before:
            raise ParameterError(
                f"the checkpoint {path} does not say what the {what} were, so another version of opalg wrote it; {ANEW}"
            )
        if before[what] != value:
            raise ParameterError(
                f"the checkpoint {path} is of another run: {what} were {_different(before[what], value)}. Give "
                f"{GIVEN.get(what, what)} as it was, or another checkpoint=, or remove the file to begin anew"
            )


def _different(before: Any, now: Any) -> str:
    """What was and what is, shortened to where they differ."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        names = [n for n in {**before, **now} if before.get(n) != now.get(n)]
        parts = [f"{n} {_said(before.get(n))}, now {_said(now.get(n))}" for n in names[:5]]
        return "; ".join(parts) + (f"; and {len(names) - 5} more" if len(names) > 5 else "")
    return f"{before}, now {now}"


def _said(value: Any) -> str:
    if value is None:
        return "absent"
    return f"of shape {tuple(value)}" if isinstance(value, list) else str(value)


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


__all__ = ["FOREIGN", "check_entries", "check_setup", "checked_path", "foreign", "load_state", "save_state"]
