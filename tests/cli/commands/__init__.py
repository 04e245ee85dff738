"""Tests of raypol.cli.commands."""
