"""Spellings of devices, and what Ray is asked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raypol.cluster.placement import DeviceRequest, parse_device, ray_options
from raypol.core.errors import InputError

SPELLINGS: list[tuple[str, DeviceRequest, dict[str, object], int]] = [
    ("cpu", DeviceRequest("cpu"), {"num_cpus": 1, "num_gpus": 0}, 1),
    ("CPU", DeviceRequest("cpu"), {"num_cpus": 1, "num_gpus": 0}, 1),
    (" cpu:2 ", DeviceRequest("cpu", 2), {"num_cpus": 2, "num_gpus": 0}, 2),
    ("cpu:2.0", DeviceRequest("cpu", 2), {"num_cpus": 2, "num_gpus": 0}, 2),
    ("cpu:64", DeviceRequest("cpu", 64), {"num_cpus": 64, "num_gpus": 0}, 64),
    ("gpu", DeviceRequest("gpu"), {"num_cpus": 0, "num_gpus": 1}, 1),
    ("cuda", DeviceRequest("gpu"), {"num_cpus": 0, "num_gpus": 1}, 1),
    ("gpu:0.5", DeviceRequest("gpu", 0.5), {"num_cpus": 0, "num_gpus": 0.5}, 1),
    ("gpu:.5", DeviceRequest("gpu", 0.5), {"num_cpus": 0, "num_gpus": 0.5}, 1),
    ("gpu:0.0001", DeviceRequest("gpu", 0.0001), {"num_cpus": 0, "num_gpus": 0.0001}, 1),
    ("gpu:2", DeviceRequest("gpu", 2), {"num_cpus": 0, "num_gpus": 2}, 1),
    ("T4", DeviceRequest("gpu", 1, "T4"), {"num_cpus": 0, "num_gpus": 1, "accelerator_type": "T4"}, 1),
    ("V100:0.25", DeviceRequest("gpu", 0.25, "V100"), {"num_cpus": 0, "num_gpus": 0.25, "accelerator_type": "V100"}, 1),
    (
        "GeForce-RTX-2080-Ti:1",
        DeviceRequest("gpu", 1, "GeForce-RTX-2080-Ti"),
        {"num_cpus": 0, "num_gpus": 1, "accelerator_type": "GeForce-RTX-2080-Ti"},
        1,
    ),
]


@pytest.mark.parametrize(("text", "request_", "options", "threads"), SPELLINGS, ids=[row[0] for row in SPELLINGS])
def test_a_spelling_and_what_ray_is_asked_for(
    text: str, request_: DeviceRequest, options: dict[str, object], threads: int
) -> None:
    parsed = parse_device(text)
    assert parsed == request_
    assert parsed.torch_device == ("cpu" if request_.kind == "cpu" else "cuda")
    assert parsed.threads == threads
    # Set before torch is imported, so that no worker computes with more threads than it has cores.
    environment = {"env_vars": {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}}
    assert ray_options(parsed) == {**options, "runtime_env": environment}


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ":",
        ":2",
        "cpu:",
        "cpu:0",
        "cpu:0.5",
        "cpu:1.5",
        "cpu:-1",
        "cpu:+1",
        "cpu:two",
        "cpu:1e3",
        "cpu:2:3",
        "cpu 2",
        "cpu,gpu",
        "gpu:0",
        "gpu:0.0",
        "gpu:1.5",
        "gpu:0.00001",
        "gpu:0.33333",
        "gpu:nan",
        "gpu:inf",
        "gpu:٢",  # a digit to Python, not to Ray
        "cpu:٢",
        "4090",
        "T4\nV100",
        "gpu:" + "9" * 400,  # infinity as a float
        "cpu:" + "9" * 400,
        "cpu:10000000",
    ],
)
def test_what_is_no_device_is_an_input_error_of_one_line(text: str) -> None:
    with pytest.raises(InputError, match=r"possible|expected") as caught:
        parse_device(text)
    assert "\n" not in str(caught.value)


@given(
    kind=st.sampled_from(["cpu", "gpu", "T4", "A100-40G"]),
    amount=st.one_of(
        st.integers(1, 1_000_000).map(str), st.integers(1, 9999).map(lambda n: f"{n / 10_000:.4f}"), st.none()
    ),
)
def test_a_request_prints_as_a_spelling_of_itself(kind: str, amount: str | None) -> None:
    if kind == "cpu" and amount is not None and "." in amount:
        return
    parsed = parse_device(kind if amount is None else f"{kind}:{amount}")
    assert parse_device(str(parsed)) == parsed
    assert str(parse_device(str(parsed))) == str(parsed)
    assert parsed.amount == float(amount or 1)
