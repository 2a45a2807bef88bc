"""Bilevel learning beside deep equilibrium models (Riccio, Ehrhardt, Benning): ``examples.bilevel_vs_equilibrium``."""
