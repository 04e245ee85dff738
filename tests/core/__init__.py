"""Tests of the core: on a CPU, offline, with toy models."""
