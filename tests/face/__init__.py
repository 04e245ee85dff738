"""Tests of raypol.face."""
