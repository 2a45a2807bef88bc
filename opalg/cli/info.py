"""``opalg info``: versions, array libraries, devices."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
from importlib import metadata

import opalg
from opalg.cli.command import Command

NEEDED = ("numpy", "scipy", "sympy", "array-api-compat")
OPTIONAL = ("torch", "PyWavelets", "matplotlib", "scikit-image", "tqdm")


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command takes none."""


def version(package: str) -> str | None:
    """The version of an installed package; None where there is none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def cupy_version() -> str | None:
    """The version of CuPy, whose package has one name per CUDA release."""
    found = [version(name) for name in ("cupy", "cupy-cuda13x", "cupy-cuda12x", "cupy-cuda11x")]
    return next((v for v in found if v), None)


def devices() -> list[str]:
    """One line for each array library with the devices it sees."""
    lines = [f"numpy: cpu, {os.cpu_count()} cores"]
    if version("torch"):
        lines.append(f"torch: {_torch_devices()}")
    if cupy_version():
        lines.append(f"cupy: {_cupy_devices()}")
    return lines


def _torch_devices() -> str:
    try:
        torch = importlib.import_module("torch")
    except (ImportError, OSError) as problem:
        return f"installed, but does not load: {problem}"
    found = [f"cpu, {torch.get_num_threads()} threads"]
    found += [f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append("mps (float32 only)")
    return "; ".join(found)


def _cupy_devices() -> str:
    try:
        runtime = importlib.import_module("cupy").cuda.runtime
        count = runtime.getDeviceCount()
        names = [runtime.getDeviceProperties(i)["name"].decode() for i in range(count)]
    except Exception as problem:  # CuPy raises errors of its own where there is no driver or no device
        return f"installed, but finds no device: {problem}"
    return "; ".join(f"cuda:{i} {name}" for i, name in enumerate(names))


def run(options: argparse.Namespace) -> int:
    """Print versions and devices."""
    print(f"opalg {opalg.__version__}")
    print(f"Python {platform.python_version()} on {platform.system()} {platform.machine()} ({sys.executable})\n")
    for package in (*NEEDED, *OPTIONAL):
        print(f"  {package:18} {version(package) or 'not installed'}")
    print(f"  {'cupy':18} {cupy_version() or 'not installed'}")
    print("\ndevices")
    for line in devices():
        print(f"  {line}")
    return 0


INFO = Command(
    "info",
    "print versions, array libraries and devices",
    "Print what a bug report needs: versions of opalg and of what it uses, array libraries and their devices.",
    arguments,
    run,
)
