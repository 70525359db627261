# SPDX-License-Identifier: Apache-2.0
"""Training and held-out evaluation of the network on synthetic frames."""
