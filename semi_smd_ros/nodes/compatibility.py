# SPDX-License-Identifier: Apache-2.0
"""Who is it that we cannot hear, or cannot hear reliably? Publishers by their QoS, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.qos import QoSCompatibility, QoSProfile, ReliabilityPolicy, qos_check_compatible

_UNKNOWN = '_NODE_NAME_UNKNOWN_'


def incompatible_publishers(node: Any, topic: str, wanted: QoSProfile) -> list[str]:
    """Full names of the nodes that publish `topic` with a QoS that a subscription with `wanted` cannot receive.

    A node that discovery has not named yet is called 'of unknown name'.
    """
    return _named(node, topic, lambda offered: qos_check_compatible(offered, wanted)[0] == QoSCompatibility.ERROR)


def publishers_of_best_effort(node: Any, topic: str) -> list[str]:
    """Full names, as above, of the nodes that offer no more than best effort on `topic`."""
    return _named(node, topic, lambda offered: offered.reliability == ReliabilityPolicy.BEST_EFFORT)


def _named(node: Any, topic: str, is_meant: Callable[[QoSProfile], bool]) -> list[str]:
    names = {
        'of unknown name' if _UNKNOWN in info.node_name else f'{info.node_namespace.rstrip("/")}/{info.node_name}'
        for info in node.get_publishers_info_by_topic(topic)
        if is_meant(info.qos_profile)
    }
    return sorted(names)
