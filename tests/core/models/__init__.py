"""Tests of raypol.core.models."""
