"""Cluster files: the one that is shipped, and every way to get one wrong that has its own line."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from raypol.cli.cluster_tables import show_cluster_file
from raypol.cluster.accelerators import is_known
from raypol.cluster.cluster_file import ClusterFile, read_cluster_file
from raypol.core.errors import InputError

CLUSTER_FILE = Path(__file__).parents[2] / "cluster.yaml"


@pytest.fixture(scope="module")
def shipped() -> ClusterFile:
    return read_cluster_file(CLUSTER_FILE)


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(CLUSTER_FILE.read_text())
    return loaded


def test_the_shipped_file_is_valid_and_has_the_gpus_of_the_paper(shipped: ClusterFile) -> None:
    assert shipped.provider == "aws"
    head, *workers = shipped.node_types
    assert head.is_head
    assert "GPU" not in head.resources
    assert {node.accelerator for node in workers} == {"T4", "V100", "A10G", "H100"}


def test_workers_say_the_same_in_resources_and_labels(shipped: ClusterFile) -> None:
    for node in shipped.node_types[1:]:
        assert node.resources["GPU"] == 1
        assert node.resources["CPU"] >= 1
        assert node.resources[f"accelerator_type:{node.accelerator}"] == 1
        assert node.labels["ray.io/accelerator-type"] == node.accelerator == node.name
        assert is_known(node.accelerator)


def test_workers_cost_nothing_while_idle(shipped: ClusterFile) -> None:
    for node in shipped.node_types[1:]:
        assert node.min_workers == 0
        assert node.max_workers >= 1
        assert node.spot
    assert shipped.node_types[0].max_workers == 0
    assert not shipped.node_types[0].spot


def test_every_node_gets_the_environment_before_anything_else(config: dict[str, Any]) -> None:
    said = "\n".join(config["setup_commands"])
    for name in ("RAY_AUTH_MODE=token", "RAYPOL_RESULTS=s3://", "PATH="):
        assert f"export {name}" in said
    assert "export MLFLOW_TRACKING_URI=" in "\n".join(config["head_setup_commands"])
    assert "~/.ray/auth_token" in config["file_mounts"]


def test_what_is_mounted_is_there(config: dict[str, Any]) -> None:
    mounted = [local for local in config["file_mounts"].values() if not local.startswith(("~", ".git"))]
    assert all((CLUSTER_FILE.parent / local).exists() for local in mounted)
    project = {"pyproject.toml", "README.md", "LICENSE", "raypol"}
    assert project <= set(mounted), "an installation needs all of these"


def test_what_is_to_be_filled_in_is_listed_once_each(shipped: ClusterFile) -> None:
    values = [line.partition(": ")[2] for line in shipped.unfilled]
    assert len(values) == len(set(values)) == 5
    assert "available_node_types.head.node_config.ImageId: ami-CHANGE-ME-ubuntu" in shipped.unfilled


def _set(*place: str, to: Any) -> Callable[[dict[str, Any]], None]:  # noqa: ANN401 - anything YAML can hold
    def change(config: dict[str, Any]) -> None:
        inner = config
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = to

    return change


def _drop(*place: str) -> Callable[[dict[str, Any]], None]:
    def change(config: dict[str, Any]) -> None:
        inner = config
        for key in place[:-1]:
            inner = inner[key]
        del inner[place[-1]]

    return change


TYPES = "available_node_types"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            _set("head_node_type", to="haed"),
            "unknown head_node_type 'haed'; possible: A10G, H100, T4, V100, head",
        ),
        (_drop("head_node_type"), "unknown head_node_type None; possible: A10G"),
        (_set("colour", to="red"), "'colour' was unexpected"),
        (_set(TYPES, "T4", "colour", to="red"), "available_node_types.T4: .*'colour' was unexpected"),
        (_drop(TYPES, "T4", "node_config"), "available_node_types.T4: 'node_config' is a required property"),
        (_drop(TYPES, "T4", "resources"), "available_node_types.T4: 'resources' is a required property"),
        (_set(TYPES, "T4", to=None), "available_node_types.T4: expected a mapping, got nothing"),
        (
            _set(TYPES, "T4", "resources", "GPU", to=0.5),
            "available_node_types.T4.resources.GPU: 0.5 is not of type 'integer'",
        ),
        (_set(TYPES, "T4", "resources", to=3), "available_node_types.T4.resources: 3 is not of type 'object'"),
        (_set(TYPES, "T4", "min_workers", to=99), "smaller than the sum of `min_workers`"),
        (_set(TYPES, "T4", "max_workers", to="many"), "available_node_types.T4.max_workers: 'many' is not of type"),
        (
            _set(TYPES, "T4", "labels", "ray.io/accelerator-type", to="V100"),
            "label ray.io/accelerator-type 'V100' without resource 'accelerator_type:V100'; the resources are CPU, GPU, "
            "accelerator_type:T4",
        ),
        (_drop(TYPES, "T4", "resources", "GPU"), "T4: resource 'accelerator_type:T4' without GPU"),
        (_drop(TYPES), "expected available_node_types with at least the head's"),
        (_drop("provider"), "expected a provider with a type"),
        (_set("provider", "type", to="moon"), "provider.type: Unsupported node provider: moon"),
        (_set("provider", "type", to="local"), "available_node_types: Ray's on-premise provider has none"),
        (
            _set(TYPES, "T4", "node_config", "InstanceType", to="g5.xlarge"),
            "available_node_types.T4.node_config.InstanceType: g5.xlarge has A10G, its resources say T4",
        ),
        (
            _set(TYPES, "T4", "node_config", to="g5.xlarge"),
            "available_node_types.T4.node_config: 'g5.xlarge' is not of type",
        ),
        (_set("setup_commands", to="pip install"), "setup_commands: 'pip install' is not of type 'array'"),
        (_set("max_workers", to="eight"), "max_workers: 'eight' is not of type 'integer'"),
        (_set("cluster_name", to=7), "cluster_name: 7 is not of type 'string'"),
    ],
)
def test_each_mistake_has_its_line(
    change: Callable[[dict[str, Any]], None], line: str, config: dict[str, Any], tmp_path: Path
) -> None:
    wrong = copy.deepcopy(config)
    change(wrong)
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump(wrong, sort_keys=False))
    with pytest.raises(InputError, match=line) as caught:
        read_cluster_file(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_an_instance_type_that_aws_does_not_have_is_told_where_boto3_is(config: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("botocore")
    wrong = copy.deepcopy(config)
    wrong[TYPES]["T4"]["node_config"]["InstanceType"] = "g4dn.xlage"
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump(wrong, sort_keys=False))
    with pytest.raises(InputError, match=r"InstanceType: AWS has no 'g4dn.xlage'; possible: g4dn.xlarge,"):
        read_cluster_file(path)


def test_what_a_node_type_asks_of_aws_is_what_aws_takes(config: dict[str, Any]) -> None:
    loaders = pytest.importorskip("botocore.loaders")
    model, validate = pytest.importorskip("botocore.model"), pytest.importorskip("botocore.validate")
    service = model.ServiceModel(loaders.Loader().load_service_model("ec2", "service-2"))
    shape = service.operation_model("RunInstances").input_shape
    for name, data in config[TYPES].items():
        asked = {**data["node_config"], "MinCount": 1, "MaxCount": 1}
        report = validate.ParamValidator().validate(asked, shape)
        assert not report.has_errors(), f"{name}: {report.generate_report()}"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "expected a mapping .* got nothing"),
        ("- a\n- b\n", "expected a mapping .* got a list"),
        ("a: [1\nb: 2\n", "not YAML: .*line 2"),
        ("a: \x01\n", "not YAML"),
        ("provider: aws\n", "expected a provider with a type"),
    ],
)
def test_what_is_no_cluster_file_is_refused(text: str, line: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=line) as caught:
        read_cluster_file(path)
    assert "\n" not in str(caught.value)


def test_a_missing_or_binary_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such cluster file"):
        read_cluster_file(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="cannot be read"):
        read_cluster_file(tmp_path)
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read as text"):
        read_cluster_file(tmp_path / "bytes.yaml")


def test_an_on_premise_file_is_read_too(config: dict[str, Any], tmp_path: Path) -> None:
    local = {key: value for key, value in config.items() if key not in (TYPES, "head_node_type", "max_workers")}
    local["provider"] = {"type": "local", "head_ip": "10.0.0.1", "worker_ips": ["10.0.0.2"]}
    path = tmp_path / "local.yaml"
    path.write_text(yaml.safe_dump(local))
    file = read_cluster_file(path)
    assert file.max_workers == 1
    assert [node.is_head for node in file.node_types] == [True]


def test_shown_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    show_cluster_file(read_cluster_file(CLUSTER_FILE))
    text = capsys.readouterr().out
    assert "p3.2xlarge" in text
    assert "0 to 4" in text
    assert "still to fill in:\n  " in text
