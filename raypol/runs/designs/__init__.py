"""Designs of sweeps: arms, axes in the vocabulary of Ray Tune, and the trials that they come to."""
