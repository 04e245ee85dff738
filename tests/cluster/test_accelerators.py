"""Names of GPU models: people's, raypol's, Ray's."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raypol.cluster.accelerators import GPU_MODELS, canonical_accelerator, is_known
from raypol.cluster.placement import parse_device
from raypol.core.errors import InputError

NAMES: dict[str, str] = {
    "RTX2080Ti": "RTX-2080-Ti",
    "2080ti": "RTX-2080-Ti",
    "rtx-2080-ti": "RTX-2080-Ti",
    "RTX 2080 Ti": "RTX-2080-Ti",
    "GeForce-RTX-2080-Ti": "RTX-2080-Ti",
    "NVIDIA GeForce RTX 2080 Ti": "RTX-2080-Ti",
    "GeForce RTX 2080 Ti": "RTX-2080-Ti",
    "RTX2080": "RTX-2080",
    "RTX-2080": "RTX-2080",
    "NVIDIA GeForce RTX 2080": "RTX-2080",
    "GeForce-RTX-2080-SUPER": "RTX-2080-SUPER",
    "GTX1080Ti": "GTX-1080-Ti",
    "GTX 1080": "GTX-1080",
    "rtx3090": "RTX-3090",
    "NVIDIA GeForce RTX 4090": "RTX-4090",
    "t4": "T4",
    "Tesla T4": "T4",
    "NVIDIA Tesla T4": "T4",
    "tesla-p40": "P40",
    "Tesla P40": "P40",
    "P4": "P4",
    "Tesla P100-SXM2-16GB": "P100",
    "Tesla V100-SXM2-16GB": "V100",
    "Tesla V100-DGXS-32GB": "V100",
    "NVIDIA A10": "A10",
    "NVIDIA A10G": "A10G",
    "NVIDIA A100-SXM4-40GB": "A100",
    "A100-SXM4-40GB": "A100",
    "NVIDIA A100 80GB PCIe": "A100",
    "a100-80g": "A100-80G",
    "NVIDIA H100 80GB HBM3": "H100",
    "NVIDIA H100 PCIe": "H100",
    "NVIDIA H100 NVL": "H100",
    "NVIDIA H200": "H200",
    "NVIDIA GH200 480GB": "GH200",
    "NVIDIA L4": "L4",
    "NVIDIA L40S": "L40S",
    "NVIDIA RTX A6000": "A6000",
    "RTX A6000": "A6000",
    "Quadro RTX 6000": "RTX-6000",
    "NVIDIA RTX 6000 Ada Generation": "RTX-6000-Ada",
    "NVIDIA TITAN V": "TITAN-V",
    # Not in the table: Ray's name is a free string.
    "OurCard": "OurCard",
    " AMD-Instinct-MI300X-OAM ": "AMD-Instinct-MI300X-OAM",
    "NVIDIA GeForce RTX 4090 Laptop GPU": "NVIDIA GeForce RTX 4090 Laptop GPU",
    "NVIDIA": "NVIDIA",
    "": "",
}


@pytest.mark.parametrize(("text", "canonical"), NAMES.items(), ids=list(NAMES))
def test_every_name_of_a_model_leads_to_one(text: str, canonical: str) -> None:
    assert canonical_accelerator(text) == canonical
    assert canonical_accelerator(canonical) == canonical


def test_no_name_stands_for_two_models() -> None:
    seen: dict[str, str] = {}
    for model in GPU_MODELS:
        for name in {re.sub(r"[\s_-]", "", n).casefold() for n in (model.name, *model.ray, *model.aliases)}:
            assert seen.setdefault(name, model.name) == model.name
        for name in (model.name, *model.ray, *model.aliases):
            assert canonical_accelerator(name) == model.name
            assert is_known(name)


@given(st.sampled_from([model.name for model in GPU_MODELS]), st.sampled_from(["", "NVIDIA ", "nvidia-", "Tesla "]))
def test_case_and_separators_do_not_count(name: str, maker: str) -> None:
    for spelled in (name.upper(), name.lower(), name.replace("-", "_"), name.replace("-", " ")):
        assert canonical_accelerator(maker + spelled) == name
        assert parse_device(f"{maker}{spelled}:0.5") == parse_device(f"{name}:0.5")


@given(st.text(max_size=30))
def test_any_text_has_a_canonical_name_that_is_its_own(text: str) -> None:
    name = canonical_accelerator(text)
    assert canonical_accelerator(name) == name


@pytest.mark.parametrize("text", ["NVIDIA GeForce RTX 4090 Laptop GPU", "9999", "Our Card"])
def test_a_name_that_is_in_no_table_must_be_one_word(text: str) -> None:
    with pytest.raises(InputError, match="possible: cpu"):
        parse_device(text)


@pytest.mark.ray
def test_the_table_has_what_ray_makes_of_drivers_names() -> None:
    from ray._private.accelerators.nvidia_gpu import NvidiaGPUAcceleratorManager

    shared = {"GeForce RTX 2080 Ti": "RTX-2080", "NVIDIA RTX 6000 Ada Generation": "RTX-6000"}
    makers = ("NVIDIA ", "Tesla ", "GeForce ", "Quadro ")
    drivers = [text for text in NAMES if text.startswith(makers) and is_known(text)]
    assert len(drivers) > 20
    for text in drivers:
        ray_name = NvidiaGPUAcceleratorManager._gpu_name_to_accelerator_type(text)
        if text in shared:  # Ray's name is also the plain card's: it must not count as this one
            assert ray_name == shared[text]
            assert canonical_accelerator(ray_name) == ray_name != canonical_accelerator(text)
        else:
            assert canonical_accelerator(ray_name) == canonical_accelerator(text), text
