"""Relatives of the attacks (Zhang et al. 2022, arXiv:2108.09454, section VI): other questions to the same optimiser.

Adversarial example: the R that flips a prediction. Unadversarial example: the R that helps it. DLG: the point behind a gradient.
Each takes a `Trainer` that holds the weights, so it runs on every model, dataset and device here.
"""
