"""Tests that start whole clusters as a user would; each takes the machine for itself for a while."""
