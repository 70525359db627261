# SPDX-License-Identifier: Apache-2.0
"""Who is it that we cannot hear? Publishers whose QoS does not fit a subscription, by name."""

from __future__ import annotations

from typing import Any

from rclpy.qos import QoSCompatibility, QoSProfile, qos_check_compatible

_UNKNOWN = '_NODE_NAME_UNKNOWN_'


def incompatible_publishers(node: Any, topic: str, wanted: QoSProfile) -> list[str]:
    """Full names of the nodes that publish `topic` with a QoS that a subscription with `wanted` cannot receive.

    A node that discovery has not named yet is called 'of unknown name'.
    """
    names = {
        'of unknown name' if _UNKNOWN in info.node_name else f'{info.node_namespace.rstrip("/")}/{info.node_name}'
        for info in node.get_publishers_info_by_topic(topic)
        if qos_check_compatible(info.qos_profile, wanted)[0] == QoSCompatibility.ERROR
    }
    return sorted(names)
