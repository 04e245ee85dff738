"""Tests of the attacks and controls."""
