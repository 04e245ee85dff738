"""The machine class: what, besides the recipe, decides how arithmetic rounds.

Two machines of one class give the same bits; two of different classes round differently without any fraud. Only precision
`reproducible` gives the same bits on every class.
"""

import platform
from functools import lru_cache
from pathlib import Path

import torch


def machine_class(device: torch.device | str = "cpu") -> str:
    """Processor, instruction set and threads, or GPU and CUDA, and torch's version, as one line."""
    kind = torch.device(device)
    if kind.type == "cuda":
        return f"{device_name(str(kind))}, CUDA {torch.version.cuda or torch.version.hip}, torch {torch.__version__}"
    threads = torch.get_num_threads()
    set_of_instructions = torch.backends.cpu.get_cpu_capability()
    cores = f"{threads} thread{'s' if threads > 1 else ''}"
    return f"{device_name(str(kind))}, {set_of_instructions}, {cores}, torch {torch.__version__}"


@lru_cache(maxsize=8)
def device_name(torch_device: str) -> str:
    """Model of a device, as the driver or the kernel reports it."""
    if torch_device.startswith("cuda") and torch.cuda.is_available():
        return torch.cuda.get_device_name(torch.device(torch_device))
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
