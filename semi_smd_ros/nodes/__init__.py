# SPDX-License-Identifier: Apache-2.0
"""The live ROS 2 node and its thin adapters to `rig` and `runtime`."""
