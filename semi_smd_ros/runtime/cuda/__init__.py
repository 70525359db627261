# SPDX-License-Identifier: Apache-2.0
"""What runs on the GPU besides the engine. Importing it needs neither a driver nor pycuda."""
