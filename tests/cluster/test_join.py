"""The computation behind `raypol join`; no Ray, no GPU."""

import json
from pathlib import Path

import pytest

from raypol.cli.commands.cluster import JoinCommand
from raypol.cluster.join import Gpu, find_gpus, has_kernels, plan_joining, visible_gpus
from raypol.core.errors import InputError


@pytest.mark.parametrize(
    ("driver", "model"),
    [
        ("Tesla P40", "P40"),
        ("NVIDIA Tesla P40", "P40"),
        ("NVIDIA GeForce RTX 2080 Ti", "RTX-2080-Ti"),
        ("GeForce RTX 2080 Ti", "RTX-2080-Ti"),
        ("Tesla V100-SXM2-16GB", "V100"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA Unheard-of (2031)", "NVIDIA-Unheard-of-2031"),
    ],
)
def test_gpus_become_a_resource_and_a_label_of_one_name(driver: str, model: str) -> None:
    joining = plan_joining("10.0.0.1", [Gpu(name=driver), Gpu(name=driver)])
    assert joining.num_gpus == 2
    assert joining.resources == {f"accelerator_type:{model}": 1}
    assert joining.labels["ray.io/accelerator-type"] == model


def test_the_command_is_what_ray_start_reads() -> None:
    words = plan_joining("head.lab:7000", [Gpu(name="Tesla P40")]).arguments()
    assert words[:3] == ["start", "--address=head.lab:7000", "--num-gpus=1"]
    assert json.loads(words[3].removeprefix("--resources=")) == {"accelerator_type:P40": 1}
    labels = dict(pair.split("=") for pair in words[4].removeprefix("--labels=").split(","))
    assert labels == {"raypol/market": "on-prem", "ray.io/accelerator-type": "P40"}


def test_a_machine_without_gpu_offers_its_cores() -> None:
    joining = plan_joining("10.0.0.1", [])
    assert joining.resources == {}
    assert "ray.io/accelerator-type" not in joining.labels
    assert "--num-gpus=0" in joining.arguments()


def test_two_models_on_one_machine_are_refused() -> None:
    with pytest.raises(InputError, match=r"P40 and RTX-2080-Ti; .* CUDA_VISIBLE_DEVICES"):
        plan_joining("10.0.0.1", [Gpu(name="Tesla P40"), Gpu(name="NVIDIA GeForce RTX 2080 Ti")])


@pytest.mark.parametrize(
    ("address", "normal"),
    [("10.0.0.1", "10.0.0.1:6379"), ("head.lab:7000", "head.lab:7000"), ("[fd00::1]:6379", "[fd00::1]:6379")],
)
def test_the_port_may_be_left_out(address: str, normal: str) -> None:
    assert plan_joining(address, []).address == normal


@pytest.mark.parametrize(
    "address", ["", "a b", "host:", "host:0", "host:65536", "ray://host:10001", "host:1:2", "--block"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(InputError, match="expected HOST or HOST:PORT"):
        plan_joining(address, [])


@pytest.mark.parametrize(
    ("capability", "built_for", "runs"),
    [
        ((7, 0), ["sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90"], True),  # V100, CUDA 12.6
        ((6, 1), ["sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90"], True),  # P40, CUDA 12.6
        ((7, 0), ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"], False),  # V100, CUDA 13
        ((6, 1), ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"], False),  # P40, CUDA 13
        ((8, 9), ["sm_75", "sm_80", "sm_86"], True),  # machine code runs on later minor versions
        ((9, 0), ["sm_75", "sm_80", "sm_86"], False),  # but not on later major ones
        ((12, 1), ["sm_90", "compute_120"], True),  # PTX does
        ((9, 0), ["sm_90a"], True),
        ((7, 0), [], False),
    ],
)
def test_which_gpus_a_pytorch_build_runs_on(capability: tuple[int, int], built_for: list[str], runs: bool) -> None:
    assert has_kernels(capability, built_for) == runs


def test_cuda_visible_devices_is_kept_where_the_driver_ignores_it() -> None:
    names = ["Tesla P40", "NVIDIA GeForce RTX 2080 Ti"]
    assert visible_gpus(names, None) == names
    assert visible_gpus(names, "1") == names[1:]
    assert visible_gpus(names, "") == []
    with pytest.raises(InputError, match="expected numbers below 2"):
        visible_gpus(names, "2")


def _driver(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A machine without CUDA in PyTorch, whose nvidia-smi is this script."""
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "nvidia-smi").chmod(0o755)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_gpus_are_asked_of_the_driver_where_pytorch_has_no_cuda(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _driver(tmp_path, monkeypatch, "echo Tesla P40; echo NVIDIA GeForce RTX 2080 Ti")
    assert [gpu.name for gpu in find_gpus()] == ["Tesla P40", "NVIDIA GeForce RTX 2080 Ti"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert find_gpus() == [Gpu(name="Tesla P40")]
    with pytest.raises(InputError, match=r"the driver shows Tesla P40, but PyTorch .* cannot use it"):
        JoinCommand(head="10.0.0.1", dry_run=True, auth="disabled").run()
    assert "found Tesla P40" in capsys.readouterr().out


def test_a_driver_that_is_broken_is_no_machine_without_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _driver(tmp_path, monkeypatch, "echo Failed to initialize NVML: Driver/library version mismatch; exit 18")
    with pytest.raises(InputError, match="nvidia-smi failed: Failed to initialize NVML"):
        find_gpus()


def test_a_head_with_a_token_wants_it_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _driver(tmp_path, monkeypatch, "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    with pytest.raises(InputError, match=r"the head wants a token: copy its ~/.ray/auth_token"):
        JoinCommand(head="10.0.0.1", dry_run=True).run()
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("secret")
    assert JoinCommand(head="10.0.0.1", dry_run=True).run() == 0


def test_a_dry_run_says_what_would_be_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _driver(tmp_path, monkeypatch, "true")
    assert JoinCommand(head="10.0.0.1", auth="disabled", node_ip="100.64.0.7", dry_run=True).run() == 0
    said = capsys.readouterr().out
    assert "no GPU" in said
    assert "RAY_AUTH_MODE=disabled ray start --address=10.0.0.1:6379 --num-gpus=0" in said
    assert "--node-ip-address=100.64.0.7" in said
