# SPDX-License-Identifier: Apache-2.0
"""Semi-SMD: metric depth from surrounding cameras as a real-time ROS 2 node."""

__version__ = '0.1.0'
