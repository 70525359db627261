# SPDX-License-Identifier: Apache-2.0
"""Sources of surround-view samples: each data set is read into the same arrays."""
