"""Tests of raypol.core.spoofing."""
