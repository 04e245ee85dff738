"""raypol: which proof-of-learning spoofs pass which verifier, for which T', k and strength, at what cost.

The layers, imports pointing down only: ``face`` > ``runs`` > ``cluster`` > ``store`` > ``core``.
"""

__version__ = "0.1.0"
