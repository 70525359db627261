# SPDX-License-Identifier: Apache-2.0
"""Start the node surround_depth.

Meant to be changed: `rig:=` (which cameras), and for a first try `bag:=` and `rviz:=true`. All else has a default that
works; parameters live in config/surround_depth.yaml.

    ros2 launch semi_smd_ros surround_depth.launch.py rig:=nuscenes
    ros2 launch semi_smd_ros surround_depth.launch.py rig:=ddad bag:=drive/ rviz:=true
    ros2 launch semi_smd_ros surround_depth.launch.py rig:=my_rig.yaml static_tf:=true
"""

import os

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch_ros.actions import Node

from semi_smd_ros.nodes.launch_support import static_transform_arguments, write_bag_qos, write_rviz_config
from semi_smd_ros.nodes.resources import rig_path, share_path
from semi_smd_ros.rig import load_rig_yaml

ARGUMENTS = {
    'rig': ('nuscenes', 'nuscenes, ddad, or the path of a rig YAML file'),
    'bag': ('', 'rosbag2 recording to replay; the node then runs on its clock and loses no image'),
    'rviz': ('false', 'true opens RViz with the depth images, the cloud and tf'),
    'params_file': ('', 'parameters of the node; default: config/surround_depth.yaml of the package'),
    'static_tf': ('false', 'true publishes base -> camera transforms from the calibration in the rig file'),
    'model': ('', 'ONNX model; default: what params_file says'),
    'backend': ('', 'auto, tensorrt or onnxruntime; default: what params_file says'),
    'image_transport': ('', 'raw or compressed; default: what params_file says'),
    'namespace': ('', 'namespace of the node and of its camera topics'),
}
# Humble's Fast DDS knows the variable by its older name only, and newer ones complain about that name.
PROFILES = (
    'FASTRTPS_DEFAULT_PROFILES_FILE' if os.environ.get('ROS_DISTRO') == 'humble' else 'FASTDDS_DEFAULT_PROFILES_FILE'
)
# Time for the model to load before the first image of a bag.
BAG_DELAY_S = '3.0'


def is_true(text):
    if text.lower() not in ('true', 'false', '1', '0'):
        raise ValueError(f"got '{text}'; expected true or false")
    return text.lower() in ('true', '1')


def actions_of(context):
    args = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    rig_file = rig_path(args['rig']).resolve()
    rig = load_rig_yaml(rig_file)

    overrides = {'rig': str(rig_file)}
    if args['bag']:
        overrides |= {'use_sim_time': True, 'image_reliability': 'reliable'}
    overrides.update({name: args[name] for name in ('model', 'backend', 'image_transport') if args[name]})
    actions = [
        Node(
            package='semi_smd_ros',
            executable='surround_depth_node',
            name='surround_depth',
            namespace=args['namespace'],
            parameters=[args['params_file'] or str(share_path('config', 'surround_depth.yaml')), overrides],
            output='screen',
        )
    ]
    if is_true(args['static_tf']):
        actions += [
            Node(
                package='tf2_ros',
                executable='static_transform_publisher',
                name=f'static_tf_{name.lower()}',
                arguments=arguments,
            )
            for name, arguments in static_transform_arguments(rig).items()
        ]
    if args['bag']:
        qos = write_bag_qos(rig, args['namespace'])
        play = ['ros2', 'bag', 'play', args['bag'], '--clock', '--delay', BAG_DELAY_S]
        actions.append(ExecuteProcess(cmd=[*play, '--qos-profile-overrides-path', str(qos)], output='screen'))
    if is_true(args['rviz']):
        actions.append(
            Node(
                package='rviz2',
                executable='rviz2',
                arguments=['-d', str(write_rviz_config(rig, args['namespace']))],
                parameters=[{'use_sim_time': bool(args['bag'])}],
            )
        )
    return actions


def generate_launch_description():
    return LaunchDescription(
        [
            # Six raw images a frame are 26 MB: over Fast DDS's default transports up to half of them are lost even when
            # reliable. LARGE_DATA (shared memory and TCP) loses none. Every process that sends or receives images needs
            # it, so export it where your drivers run, too. With Cyclone DDS the variable means nothing: raise the
            # kernel's receive buffer instead (sudo sysctl -w net.core.rmem_max=2147483647) and set
            # <Internal><SocketReceiveBufferSize min="64MB"/></Internal> in CYCLONEDDS_URI.
            SetEnvironmentVariable(
                'FASTDDS_BUILTIN_TRANSPORTS',
                EnvironmentVariable('FASTDDS_BUILTIN_TRANSPORTS', default_value='LARGE_DATA'),
            ),
            # config/fastdds.xml says why.
            SetEnvironmentVariable(
                PROFILES, EnvironmentVariable(PROFILES, default_value=str(share_path('config', 'fastdds.xml')))
            ),
            *[
                DeclareLaunchArgument(name, default_value=default, description=text)
                for name, (default, text) in ARGUMENTS.items()
            ],
            OpaqueFunction(function=actions_of),
        ]
    )
