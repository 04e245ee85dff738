"""Tests of raypol.report.arena."""
