# SPDX-License-Identifier: Apache-2.0
"""What the node may do under SROS 2: its topics and services, and nothing else.

    python3 -m semi_smd_ros.nodes.security_policy nuscenes > policy.xml

writes the policy of a rig (a name or a YAML file), as config/sros2_policy.xml is for nuscenes. docs/security.md says
how to use it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from xml.etree import ElementTree

from ..rig import RigConfigCamera, RigError, load_rig_yaml
from .resources import rig_path

NODE = 'surround_depth'
ENCLAVE = f'/{NODE}'
COMMENT = (
    ' Topics are relative to the namespace ns. Written by: python3 -m semi_smd_ros.nodes.security_policy <rig>. '
    'See docs/security.md. '
)
SERVICES = (
    '~/change_state',
    '~/describe_parameters',
    '~/get_available_states',
    '~/get_available_transitions',
    '~/get_parameter_types',
    '~/get_parameters',
    '~/get_state',
    '~/get_transition_graph',
    '~/get_type_description',
    '~/list_parameters',
    '~/reset',
    '~/set_parameters',
    '~/set_parameters_atomically',
)


def published_topics(cameras: Sequence[RigConfigCamera]) -> list[str]:
    """Every topic that the node may publish."""
    outputs = [
        f'{camera.name}/{kind}/{name}'
        for camera in cameras
        for kind in ('depth', 'semantics')
        for name in ('camera_info', 'image')
    ]
    return sorted(
        [*outputs, '/diagnostics', '/parameter_events', '/rosout', '~/odometry', '~/points', '~/transition_event']
    )


def subscribed_topics(cameras: Sequence[RigConfigCamera]) -> list[str]:
    """Every topic that the node may hear, with either image transport."""
    inputs = [
        topic
        for camera in cameras
        for topic in (camera.image_topic, f'{camera.image_topic}/compressed', camera.camera_info_topic)
    ]
    return sorted([*inputs, '/clock', '/tf', '/tf_static'])


def policy_xml(cameras: Sequence[RigConfigCamera], namespace: str = '/') -> str:
    """The policy (SROS 2 schema 0.2.0) of a node with these cameras."""
    policy = ElementTree.Element('policy', version='0.2.0')
    policy.append(ElementTree.Comment(COMMENT))
    enclaves = ElementTree.SubElement(policy, 'enclaves')
    enclave = ElementTree.SubElement(enclaves, 'enclave', path=ENCLAVE)
    profiles = ElementTree.SubElement(enclave, 'profiles')
    profile = ElementTree.SubElement(profiles, 'profile', ns=namespace, node=NODE)
    for kind, item, right, names in (
        ('topics', 'topic', 'publish', published_topics(cameras)),
        ('topics', 'topic', 'subscribe', subscribed_topics(cameras)),
        ('services', 'service', 'reply', SERVICES),
    ):
        rule = ElementTree.SubElement(profile, kind, {right: 'ALLOW'})
        for name in names:
            ElementTree.SubElement(rule, item).text = name
    ElementTree.indent(policy)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(policy, encoding="unicode")}\n'


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the policy of a rig to stdout; returns the exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if not 1 <= len(words) <= 2:
        sys.stderr.write('usage: python3 -m semi_smd_ros.nodes.security_policy RIG [NAMESPACE]\n')
        return 2
    try:
        cameras = load_rig_yaml(rig_path(words[0])).cameras
    except RigError as error:
        sys.stderr.write(f'{error}\n')
        return 1
    sys.stdout.write(policy_xml(cameras, *words[1:]))
    return 0


if __name__ == '__main__':
    sys.exit(main())
