"""How a machine computes: the format of numbers, the class that decides how it rounds, and arithmetic that is the same on all."""
