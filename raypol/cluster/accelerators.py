"""GPU models: one canonical name each, the names that people use, and the names that Ray derives from drivers.

Ray's name is a free string that the node makes from its driver's product name: the same card is `GeForce-RTX-2080-Ti` under
"NVIDIA GeForce RTX 2080 Ti" and `RTX-2080` under the older "GeForce RTX 2080 Ti", as is a plain RTX 2080. A name that several
cards share means the plain one here: a request for a Ti is never met by a node that may not have it.
"""

import re
from typing import Final, NamedTuple


class GpuModel(NamedTuple):
    """One GPU model."""

    name: str
    """Canonical name, which raypol prints and records."""
    ray: tuple[str, ...]
    """Names that Ray derives from drivers' product names."""
    aliases: tuple[str, ...] = ()
    """Other names in use. Case, spaces, hyphens and makers' words (NVIDIA, Tesla, GeForce, Quadro) do not matter."""


GPU_MODELS: Final[tuple[GpuModel, ...]] = (
    GpuModel("K80", ("K80", "Tesla-K80")),
    GpuModel("M60", ("M60", "Tesla-M60")),
    GpuModel("P4", ("P4", "Tesla-P4")),
    GpuModel("P40", ("P40", "Tesla-P40")),
    GpuModel("P100", ("P100", "Tesla-P100-PCIE-16GB", "Tesla-P100-SXM2-16GB")),
    GpuModel("V100", ("V100", "Tesla-V100-SXM2-16GB", "Tesla-V100-PCIE-32GB")),
    GpuModel("T4", ("T4", "Tesla-T4")),
    GpuModel("A2", ("A2",)),
    GpuModel("A10", ("A10",)),
    GpuModel("A10G", ("A10G",)),
    GpuModel("A16", ("A16",)),
    GpuModel("A30", ("A30",)),
    GpuModel("A40", ("A40",)),
    GpuModel("A100", ("A100", "A100-SXM4-40GB", "A100-PCIE-40GB")),
    GpuModel("A100-40G", ()),  # Ray's own constants, never derived: set by hand on a node
    GpuModel("A100-80G", ()),
    GpuModel("L4", ("L4",)),
    GpuModel("L40", ("L40",)),
    GpuModel("L40S", ("L40S",)),
    GpuModel("H20", ("H20",)),
    GpuModel("H100", ("H100",)),
    GpuModel("H200", ("H200",)),
    GpuModel("GH200", ("GH200",)),
    GpuModel("B200", ("B200",)),
    GpuModel("GB200", ("GB200",)),
    GpuModel("GTX-1080", ("GeForce-GTX-1080", "GTX-1080"), ("1080",)),
    GpuModel("GTX-1080-Ti", ("GeForce-GTX-1080-Ti",), ("1080 Ti",)),
    GpuModel("TITAN-Xp", ("TITAN-Xp",)),
    GpuModel("TITAN-V", ("TITAN-V",)),
    GpuModel("TITAN-RTX", ("TITAN-RTX",)),
    GpuModel("RTX-2070", ("GeForce-RTX-2070", "RTX-2070"), ("2070",)),
    GpuModel("RTX-2080", ("GeForce-RTX-2080", "RTX-2080"), ("2080",)),
    GpuModel("RTX-2080-SUPER", ("GeForce-RTX-2080-SUPER",), ("2080 SUPER",)),
    GpuModel("RTX-2080-Ti", ("GeForce-RTX-2080-Ti",), ("2080 Ti",)),
    GpuModel("RTX-3060", ("GeForce-RTX-3060", "RTX-3060"), ("3060",)),
    GpuModel("RTX-3080", ("GeForce-RTX-3080", "RTX-3080"), ("3080",)),
    GpuModel("RTX-3090", ("GeForce-RTX-3090", "RTX-3090"), ("3090",)),
    GpuModel("RTX-3090-Ti", ("GeForce-RTX-3090-Ti",), ("3090 Ti",)),
    GpuModel("RTX-4080", ("GeForce-RTX-4080",), ("4080",)),
    GpuModel("RTX-4090", ("GeForce-RTX-4090",), ("4090",)),
    GpuModel("RTX-5090", ("GeForce-RTX-5090",), ("5090",)),
    GpuModel("RTX-6000", ("RTX-6000", "Quadro-RTX-6000")),
    GpuModel("RTX-6000-Ada", (), ("RTX 6000 Ada Generation",)),
    GpuModel("RTX-8000", ("RTX-8000", "Quadro-RTX-8000")),
    GpuModel("RTX-PRO-6000", ("RTX-PRO-6000",), ("RTX PRO 6000 Blackwell Server Edition",)),
    GpuModel("A4000", ("RTX-A4000", "A4000")),
    GpuModel("A5000", ("RTX-A5000", "A5000")),
    GpuModel("A6000", ("RTX-A6000", "A6000")),
)

_MAKERS: Final = {"nvidia", "tesla", "geforce", "quadro"}
# Words that drivers append to a model: memory and its kind, the socket, the enclosure.
_VARIANT: Final = re.compile(r"\d+gb|hbm\d\w*|sxm\d*|pcie|nvl|dgxs|fhhl")


def canonical_accelerator(text: str) -> str:
    """Canonical name of a GPU model, from any of its names; an unknown name only loses its outer spaces."""
    words = _words(text)
    whole = "".join(words)
    while words and _VARIANT.fullmatch(words[-1]):
        words.pop()
    return _BY_KEY.get(whole) or _BY_KEY.get("".join(words)) or text.strip()


def is_known(text: str) -> bool:
    """True if the table has this name of a GPU model."""
    return canonical_accelerator(text) in _NAMES


def _words(text: str) -> list[str]:
    words = [word for word in re.split(r"[\s_-]+", text.casefold()) if word]
    while len(words) > 1 and words[0] in _MAKERS:
        words.pop(0)
    return words


_BY_KEY: Final = {
    "".join(_words(name)): model.name for model in GPU_MODELS for name in (model.name, *model.ray, *model.aliases)
}
_NAMES: Final = {model.name for model in GPU_MODELS}
