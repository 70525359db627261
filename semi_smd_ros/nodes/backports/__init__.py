# SPDX-License-Identifier: Apache-2.0
"""Stand-ins for the ROS packages that no wheel carries, with the names and signatures of the originals.

They serve where the original is not installed; `semi_smd_ros.nodes.ros` decides. They hold what nodes and their tests
need.
"""
