"""Everything public is described, and the examples in the descriptions are true."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import opalg

NEEDS_A_GPU_LIBRARY = "cupy"
MODULES = sorted(
    found.name
    for found in pkgutil.walk_packages(opalg.__path__, "opalg.")
    if NEEDS_A_GPU_LIBRARY not in found.name and not found.name.endswith("__main__")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_are_true(name):
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    assert doctest.testmod(importlib.import_module(name), optionflags=flags).failed == 0


@pytest.mark.parametrize("name", MODULES)
def test_public_names_are_described(name):
    module = importlib.import_module(name)
    silent = [
        public
        for public, value in vars(module).items()
        if not public.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == name
        and len(value.__doc__ or "") < 20
    ]
    assert module.__doc__ or hasattr(module, "__path__"), "the module says nothing about itself"
    assert silent == []
