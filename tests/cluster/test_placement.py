"""Spellings of devices, and what Ray is asked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raypol.cluster.placement import DeviceRequest, parse_device, parse_devices, ray_options
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
        DeviceRequest("gpu", 1, "RTX-2080-Ti"),
        {"num_cpus": 0, "num_gpus": 1, "accelerator_type": "RTX-2080-Ti"},
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
        "4091",  # no such card, and no name for one
        "Some Other GPU",
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


@pytest.mark.parametrize(
    ("text", "bundle"),
    [
        ("cpu", {"CPU": 1}),
        ("cpu:2", {"CPU": 2}),
        ("gpu", {"GPU": 1}),
        ("gpu:2", {"GPU": 2}),
        ("T4:0.5", {"GPU": 0.5, "accelerator_type:T4": 0.001}),
        ("OurCard", {"GPU": 1, "accelerator_type:OurCard": 0.001}),
    ],
)
def test_what_a_request_takes_out_of_a_placement_group(text: str, bundle: dict[str, float]) -> None:
    assert parse_device(text).bundle() == bundle


def test_a_list_of_devices() -> None:
    assert parse_devices("T4, P40,RTX2080Ti,V100:0.5,cpu:2") == (
        DeviceRequest("gpu", 1, "T4"),
        DeviceRequest("gpu", 1, "P40"),
        DeviceRequest("gpu", 1, "RTX-2080-Ti"),
        DeviceRequest("gpu", 0.5, "V100"),
        DeviceRequest("cpu", 2),
    )
    assert parse_devices("T4,T4:0.5") == (DeviceRequest("gpu", 1, "T4"), DeviceRequest("gpu", 0.5, "T4"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected spellings between commas"),
        (",", "expected spellings between commas"),
        ("T4,", "expected spellings between commas"),
        ("T4,,V100", "expected spellings between commas"),
        ("T4,V100,t4", "got T4 more than once"),
        ("2080ti,GeForce-RTX-2080-Ti:1", "got RTX-2080-Ti more than once"),
        ("cpu,cpu:1.0", "got cpu more than once"),
        ("T4,gpu:1.5", "expected a share of a GPU"),
    ],
)
def test_what_is_no_list_of_devices(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        parse_devices(text)
    assert "\n" not in str(caught.value)
