# SPDX-License-Identifier: Apache-2.0
"""The Semi-SMD network in PyTorch, its checkpoints and its export to ONNX."""
