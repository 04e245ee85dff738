"""Reading and checking cluster files for `ray up`. Nothing is started, and no provider is asked."""

import copy
import io
from collections.abc import Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from raypol.cluster.accelerators import canonical_accelerator
from raypol.core.errors import InputError, local_path, reject_choice

_PLACEHOLDER: Final = "CHANGE-ME"
_ANY: Final = 1 << 30
_ACCELERATOR: Final = "accelerator_type:"
_AWS_GPUS: Final = {
    "g4dn": "T4", "g5": "A10G", "g6": "L4", "g6e": "L40S", "p3": "V100", "p3dn": "V100", "p4d": "A100", "p4de": "A100",
    "p5": "H100", "p5e": "H200", "p5en": "H200", "p6-b200": "B200",
}  # fmt: skip
"""GPU model by family of AWS instance types."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeType:
    """A type of machine in a cluster file."""

    name: str
    is_head: bool
    resources: Mapping[str, int]
    """Resources that Ray will offer: CPU, GPU, accelerator_type:X."""
    labels: Mapping[str, str]
    min_workers: int
    max_workers: int
    machine: str
    """Provider's name of the machine; empty if it has none."""
    spot: bool
    """True if the provider may take the machine away."""

    @property
    def accelerator(self) -> str:
        """Ray's name of its GPU model; empty without a GPU."""
        return next(iter(_models(self.resources)), "")


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterFile:
    """A valid cluster file."""

    path: str
    name: str
    provider: str
    max_workers: int
    """Of all types together."""
    node_types: tuple[NodeType, ...]
    """The head first."""
    unfilled: tuple[str, ...]
    """Values that still contain CHANGE-ME, as `place: value`."""


def read_cluster_file(path: str | Path) -> ClusterFile:
    """Read a cluster file and check it against Ray's own schema.

    Facts that only the provider knows are not checked: that an image or a zone exists, that a quota suffices.

    Raises:
        InputError: the file is wrong; one line that begins with the path.
    """
    config = _load(local_path(path))
    try:
        _check_shape(config)
        prepared = _prepared(config)
        for name, data in config.get("available_node_types", {}).items():
            _check_accelerator(name, data)
            if prepared["provider"]["type"] == "aws":
                _check_aws(name, data)
    except InputError as err:
        raise InputError(f"{path}: {err}") from err
    head = prepared["head_node_type"]
    types = [_node_type(name, data, is_head=name == head) for name, data in prepared["available_node_types"].items()]
    # A value that an anchor repeats is listed once, at its first place.
    unfilled = {value: place for place, value in reversed(list(_strings(config))) if _PLACEHOLDER in value}
    return ClusterFile(
        path=str(path),
        name=str(prepared["cluster_name"]),
        provider=str(prepared["provider"]["type"]),
        max_workers=int(prepared["max_workers"]),
        node_types=tuple(sorted(types, key=lambda node: not node.is_head)),
        unfilled=tuple(f"{place}: {value}" for value, place in reversed(unfilled.items())),
    )


def _load(path: Path) -> dict[str, Any]:
    import yaml

    try:
        config = yaml.safe_load(path.read_text())
    except FileNotFoundError as err:
        raise InputError(f"{path}: no such cluster file") from err
    except (OSError, UnicodeDecodeError) as err:
        raise InputError(f"{path}: cannot be read as text: {err}") from err
    except yaml.YAMLError as err:
        raise InputError(f"{path}: not YAML: {' '.join(str(err).split())}") from err
    if not isinstance(config, dict):
        raise InputError(f"{path}: expected a mapping with cluster_name, provider, ...; got {_kind(config)}")
    return config


def _check_shape(config: Mapping[str, Any]) -> None:
    """Refuse files that Ray answers with a KeyError, or with its defaults for another cluster."""
    provider = config.get("provider")
    if not isinstance(provider, dict) or not isinstance(provider.get("type"), str):
        raise InputError("expected a provider with a type (aws, gcp, azure, local, ...)")
    types = config.get("available_node_types")
    if provider["type"] == "local":
        if types:
            raise InputError(
                "available_node_types: Ray's on-premise provider has none; let machines join by `raypol join`"
            )
        return
    if not isinstance(types, dict) or not types:
        raise InputError("expected available_node_types with at least the head's")
    for name, data in types.items():
        if not isinstance(data, dict):
            raise InputError(f"available_node_types.{name}: expected a mapping, got {_kind(data)}")
    head = config.get("head_node_type")
    if head not in types:
        reject_choice("head_node_type", head, map(str, types))


def _check_accelerator(name: str, data: Mapping[str, Any]) -> None:
    """Refuse a contradiction between the resource, which actors ask for, and the label, which selectors ask for."""
    label = data.get("labels", {}).get("ray.io/accelerator-type")
    models = _models(data["resources"])
    if label is not None and label not in models:
        raise InputError(
            f"available_node_types.{name}: label ray.io/accelerator-type {label!r} without resource "
            f"'accelerator_type:{label}'; the resources are {', '.join(map(str, data['resources'])) or 'none'}"
        )
    if models and not data["resources"].get("GPU"):
        raise InputError(f"available_node_types.{name}: resource 'accelerator_type:{models[0]}' without GPU")


def _check_aws(name: str, data: Mapping[str, Any]) -> None:
    """Refuse machines that would fail, or have another GPU, hours after `ray up`, in the autoscaler's log."""
    machine = data["node_config"].get("InstanceType")
    if machine is None:
        return  # Ray has a default
    place = f"available_node_types.{name}.node_config.InstanceType"
    known = _aws_machines()
    if known and machine not in known:
        near = ", ".join(get_close_matches(str(machine), known, n=3))
        raise InputError(f"{place}: AWS has no {machine!r}" + (f"; possible: {near}, ..." if near else ""))
    has = _AWS_GPUS.get(str(machine).partition(".")[0])
    for model in _models(data["resources"]):
        if has and canonical_accelerator(model) != has:
            raise InputError(f"{place}: {machine} has {has}, its resources say {model}")


def _models(resources: Mapping[str, int]) -> list[str]:
    """GPU models among the resources of a node type."""
    return [key.removeprefix(_ACCELERATOR) for key in map(str, resources) if key.startswith(_ACCELERATOR)]


@lru_cache(maxsize=1)
def _aws_machines() -> tuple[str, ...]:
    """AWS's instance types of all regions, from boto3's description of its API; empty without boto3."""
    try:
        from botocore.loaders import Loader
    except ImportError:
        return ()
    shapes = Loader().load_service_model("ec2", "service-2")["shapes"]
    return tuple(shapes["InstanceType"]["enum"])


def _prepared(config: dict[str, Any]) -> dict[str, Any]:
    """Add Ray's defaults for the provider, and check as `ray up` does.

    The only use of Ray's private module for this: it raises many types of errors and prints some of them to the terminal only.
    """
    from jsonschema import ValidationError
    from ray.autoscaler._private.util import prepare_config, validate_config

    said = io.StringIO()
    try:
        with redirect_stdout(said), redirect_stderr(said):
            # First as it is, plus the values that Ray would add: preparing a wrong file fails with a worse message.
            validate_config({"cluster_name": "default", "cluster_synced_files": [], "max_workers": _ANY, **config})
            prepared: dict[str, Any] = prepare_config(copy.deepcopy(config))
            validate_config(prepared)
    except ValidationError as err:
        place = ".".join(map(str, err.absolute_path))
        raise InputError(f"{place}: {err.message}" if place else err.message) from err
    except NotImplementedError as err:
        raise InputError(f"provider.type: {err}") from err
    except Exception as err:
        reason = " ".join((str(err) or said.getvalue() or type(err).__name__).split())
        raise InputError(f"Ray refuses it: {reason}") from err
    return prepared


def _node_type(name: str, data: Mapping[str, Any], *, is_head: bool) -> NodeType:
    node = data.get("node_config", {})
    market = node.get("InstanceMarketOptions", {})
    scheduling = node.get("scheduling", [])
    return NodeType(
        name=name,
        is_head=is_head,
        resources=dict(data.get("resources", {})),
        labels=dict(data.get("labels", {})),
        min_workers=int(data["min_workers"]),
        max_workers=int(data["max_workers"]),
        machine=str(node.get("InstanceType") or node.get("machineType") or ""),
        spot=market.get("MarketType") == "spot" or any(part.get("preemptible") for part in scheduling),
    )


def _strings(value: object, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield every string of a configuration with its place."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _strings(inner, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from _strings(inner, f"{place}[{position}]")


def _kind(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
