"""Freed memory stays with the process: what is freed and allocated again costs no page faults."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, statistics, sys
import torch
from raypol.core.allocator import keep_freed_memory

def step():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for held in [[torch.ones(size // 4) for size in (5 << 20, 40 << 20, 90 << 20)] for _ in range(2)]:
        held.clear()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if sys.argv[1] == "keep":
    assert keep_freed_memory()
print(statistics.median(step() for _ in range(15)))
"""


def faults(mode: str) -> float:
    """Page faults of most steps: a heap with a small allocation in its way may still grow in single ones."""
    ran = subprocess.run([sys.executable, "-c", PROGRAM, mode], capture_output=True, text=True, check=True, timeout=120)
    return float(ran.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_what_is_freed_and_allocated_again_costs_no_page_faults() -> None:
    assert faults("keep") < 0.05 * faults("plain")
