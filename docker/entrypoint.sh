#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Sets up ROS and the workspace for what follows.
set -e
source "/opt/ros/${ROS_DISTRO}/setup.bash"
source /ros2_ws/install/setup.bash
exec "$@"
