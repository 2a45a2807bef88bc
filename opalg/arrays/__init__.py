"""Array libraries, devices and precisions; nothing mathematical."""

from opalg.arrays.backend import Backend, backend, backend_of, library_name, precision_of

__all__ = ["Backend", "backend", "backend_of", "library_name", "precision_of"]
