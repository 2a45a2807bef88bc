"""Folders of data that commands are given."""

from __future__ import annotations

import argparse
from pathlib import Path


def folder(text: str) -> Path:
    """A folder that is there, as the type of an argument.

    Parameters
    ----------
    text : str

    Returns
    -------
    Path

    Raises
    ------
    argparse.ArgumentTypeError
        Where there is no such folder.
    """
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {text!r}")
    return path
