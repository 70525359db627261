# SPDX-License-Identifier: Apache-2.0
"""The demo: a recording is played over DDS, the node works on it, the outputs are recorded and judged."""
