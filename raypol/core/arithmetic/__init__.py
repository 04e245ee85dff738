"""How a machine computes: its class, which decides how it rounds."""
