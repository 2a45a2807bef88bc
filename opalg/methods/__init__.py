"""Algorithms: which maps have the minimisers of an energy as fixed points, one file each."""
