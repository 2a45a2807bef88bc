"""Online equilibrium models (Liu et al. 2022, ODER): ``python -m examples.online_equilibrium``."""
