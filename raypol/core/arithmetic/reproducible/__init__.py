"""Arithmetic whose every bit is declared: the same on any number of threads, instruction set and device."""
