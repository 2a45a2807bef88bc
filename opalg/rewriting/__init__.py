"""Rewrite rules on energies, grouped by purpose; rules on operators stand beside the operators they concern."""

from opalg.rewriting import absorb, merge, unfold

__all__ = ["absorb", "merge", "unfold"]
