"""GPU models: the names people use, one canonical name for each, and the names that Ray derives from drivers.

Ray's name is a free string, made by the node from its driver's product name: the same card is `GeForce-RTX-2080-Ti` under
"NVIDIA GeForce RTX 2080 Ti" and `RTX-2080` under the older "GeForce RTX 2080 Ti", which is also what a plain RTX 2080 gets.
A name that several cards share stands here for the plain one: a request for a Ti is never met by a node that may not have it.
"""

import re
from typing import Final, NamedTuple


class Model(NamedTuple):
    """One GPU model."""

    name: str
    """Canonical: what raypol prints and records."""
    ray: tuple[str, ...]
    """Names that Ray derives from the products' driver names, the canonical one among them where it does."""
    aliases: tuple[str, ...] = ()
    """Other names people use. Case, spaces, hyphens and makers' words (NVIDIA, Tesla, GeForce, Quadro) do not count."""


MODELS: Final[tuple[Model, ...]] = (
    Model("K80", ("K80", "Tesla-K80")),
    Model("M60", ("M60", "Tesla-M60")),
    Model("P4", ("P4", "Tesla-P4")),
    Model("P40", ("P40", "Tesla-P40")),
    Model("P100", ("P100", "Tesla-P100-PCIE-16GB", "Tesla-P100-SXM2-16GB")),
    Model("V100", ("V100", "Tesla-V100-SXM2-16GB", "Tesla-V100-PCIE-32GB")),
    Model("T4", ("T4", "Tesla-T4")),
    Model("A2", ("A2",)),
    Model("A10", ("A10",)),
    Model("A10G", ("A10G",)),
    Model("A16", ("A16",)),
    Model("A30", ("A30",)),
    Model("A40", ("A40",)),
    Model("A100", ("A100", "A100-SXM4-40GB", "A100-PCIE-40GB")),
    Model("A100-40G", ()),  # Ray's own constants; never derived, set by hand on a node
    Model("A100-80G", ()),
    Model("L4", ("L4",)),
    Model("L40", ("L40",)),
    Model("L40S", ("L40S",)),
    Model("H20", ("H20",)),
    Model("H100", ("H100",)),
    Model("H200", ("H200",)),
    Model("GH200", ("GH200",)),
    Model("B200", ("B200",)),
    Model("GB200", ("GB200",)),
    Model("GTX-1080", ("GeForce-GTX-1080", "GTX-1080"), ("1080",)),
    Model("GTX-1080-Ti", ("GeForce-GTX-1080-Ti",), ("1080 Ti",)),
    Model("TITAN-Xp", ("TITAN-Xp",)),
    Model("TITAN-V", ("TITAN-V",)),
    Model("TITAN-RTX", ("TITAN-RTX",)),
    Model("RTX-2070", ("GeForce-RTX-2070", "RTX-2070"), ("2070",)),
    Model("RTX-2080", ("GeForce-RTX-2080", "RTX-2080"), ("2080",)),
    Model("RTX-2080-SUPER", ("GeForce-RTX-2080-SUPER",), ("2080 SUPER",)),
    Model("RTX-2080-Ti", ("GeForce-RTX-2080-Ti",), ("2080 Ti",)),
    Model("RTX-3060", ("GeForce-RTX-3060", "RTX-3060"), ("3060",)),
    Model("RTX-3080", ("GeForce-RTX-3080", "RTX-3080"), ("3080",)),
    Model("RTX-3090", ("GeForce-RTX-3090", "RTX-3090"), ("3090",)),
    Model("RTX-3090-Ti", ("GeForce-RTX-3090-Ti",), ("3090 Ti",)),
    Model("RTX-4080", ("GeForce-RTX-4080",), ("4080",)),
    Model("RTX-4090", ("GeForce-RTX-4090",), ("4090",)),
    Model("RTX-5090", ("GeForce-RTX-5090",), ("5090",)),
    Model("RTX-6000", ("RTX-6000", "Quadro-RTX-6000")),
    Model("RTX-6000-Ada", (), ("RTX 6000 Ada Generation",)),
    Model("RTX-8000", ("RTX-8000", "Quadro-RTX-8000")),
    Model("RTX-PRO-6000", ("RTX-PRO-6000",), ("RTX PRO 6000 Blackwell Server Edition",)),
    Model("A4000", ("RTX-A4000", "A4000")),
    Model("A5000", ("RTX-A5000", "A5000")),
    Model("A6000", ("RTX-A6000", "A6000")),
)

_MAKERS: Final = {"nvidia", "tesla", "geforce", "quadro"}
# What drivers add to a model: memory and its kind, the socket, the enclosure.
_VARIANT: Final = re.compile(r"\d+gb|hbm\d\w*|sxm\d*|pcie|nvl|dgxs|fhhl")


def canonical_accelerator(text: str) -> str:
    """The canonical name of a GPU model, from any of its names; an unknown name is kept as it is, but for outer spaces."""
    words = _words(text)
    whole = "".join(words)
    while words and _VARIANT.fullmatch(words[-1]):
        words.pop()
    return _BY_KEY.get(whole) or _BY_KEY.get("".join(words)) or text.strip()


def is_known(text: str) -> bool:
    """True if the table has this name."""
    return canonical_accelerator(text) in _NAMES


def ray_names(name: str) -> frozenset[str]:
    """The names that Ray derives from the drivers of a model, and the canonical one, which a node may be given by hand."""
    canonical = canonical_accelerator(name)
    return frozenset({canonical, *(n for model in MODELS if model.name == canonical for n in model.ray)})


def _words(text: str) -> list[str]:
    words = [word for word in re.split(r"[\s_-]+", text.casefold()) if word]
    while len(words) > 1 and words[0] in _MAKERS:
        words.pop(0)
    return words


_BY_KEY: Final = {
    "".join(_words(name)): model.name for model in MODELS for name in (model.name, *model.ray, *model.aliases)
}
_NAMES: Final = {model.name for model in MODELS}
