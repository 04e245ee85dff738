"""Clusters that only exist in tests."""

from typing import Any, Final

STUCK: Final = "gpu:0.6 gpu:0.6 gpu:0.6"
"""A share on each of the three GPUs is a way, but Ray packs all on the node with two, by their sum, and can then not do it."""

# Space-separated spellings, for a head with a core, a node with a core and an RTX 2080 Ti, one with a core and two T4s.
GROUPS: Final[tuple[str, ...]] = (
    "T4 T4",
    "T4 T4 T4:0.5",
    "gpu gpu RTX2080Ti",  # the two that take any GPU must leave the third
    "gpu gpu gpu T4",
    STUCK,
    "gpu:0.6 gpu:0.6 gpu:0.6 gpu:0.6",  # 2.4 GPUs of 3, but two on one
    "T4:0.5 T4:0.5 T4:0.5 T4:0.5 RTX2080Ti:0.5",
    "gpu:2 RTX2080Ti",
    "gpu:2 T4",
    "cpu cpu cpu T4",
    "cpu cpu cpu cpu",
    "cpu:2",
    "P40",
)

# As `ray up` leaves it on the head, shortened.
AUTOSCALED: Final[dict[str, Any]] = {
    "cluster_name": "simulated",
    "max_workers": 3,
    "provider": {"type": "aws"},
    "head_node_type": "head",
    "available_node_types": {
        "head": {"resources": {"CPU": 4}, "node_config": {}, "max_workers": 0},
        "t4": {
            "resources": {"CPU": 4, "GPU": 1, "accelerator_type:T4": 1},
            "labels": {"raypol/simulated": "true"},
            "min_workers": 0,
            "max_workers": 2,
        },
        "v100": {"resources": {"CPU": 8, "GPU": 4, "accelerator_type:Tesla-V100-SXM2-16GB": 1}},
        "off": {"resources": {"CPU": 8}, "max_workers": 0},
        "unknown": {"resources": {}, "max_workers": 2},
    },
}
