"""Tests of README and docs/: their code runs, their links lead somewhere."""
