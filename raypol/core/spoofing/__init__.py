"""Forging a proof: trajectory, crafting, sealing."""
