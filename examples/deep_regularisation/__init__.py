"""Deep regularisation by bilevel optimisation (Nair, Schniter 2022): ``python -m examples.deep_regularisation``."""
