"""Figures over training progress: error, accuracy, intervals."""
