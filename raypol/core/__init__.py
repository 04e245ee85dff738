"""The science: protocol, attacks, distances, initial laws, data, models. Needs torch, numpy, scipy, scikit-learn alone."""
