# SPDX-License-Identifier: Apache-2.0
"""Export a network to one ONNX file behind the engine contract (DESIGN section 4): named tensors and metadata."""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from semi_smd_ros.network.checkpoint import load_checkpoint
from semi_smd_ros.network.config import FEATURE_STRIDE, NetworkConfig
from semi_smd_ros.network.model import NetworkInput, SemiSmdNetwork

logger = logging.getLogger(__name__)

OPSET = 17
CONTRACT = 1
MAX_CAMERAS = 12
METADATA_KEY = 'semi_smd_ros'
INPUTS = ('images', 'intrinsics', 'base_T_cam', 'camera_valid', 'memory', 'memory_valid')
OUTPUTS = ('depth', 'confidence', 'semantics', 'memory_out', 'ego_motion')
DEPTH_MAP = (
    'depth[m] = clip(exp(offset) * ground(ray) ** weight, depth_min, depth_max) with ground(ray) the Z depth of the '
    'ground plane that the network estimates, at most {far:g} m; +inf where sky; the output tensor holds metres'
)


FP16_SCOPES = ('encoder', 'coarse', 'fusion', 'decoder', 'edges', 'heads')


def needs_fp32(node: str) -> bool:
    """Whether a node of the exported graph, by its name, must stay in FP32 in an engine of mixed precision.

    Rays, the ground's and the motion's normal equations, positions of matches and the map from log depth to metres
    lose metric scale in FP16; convolutions, attention, its LayerNorm and softmax do not, and are nearly all the cost.
    """
    parts = node.split('/')
    return len(parts) < 4 or parts[1] != 'network' or parts[2] not in FP16_SCOPES


class EngineModule(nn.Module):
    """The network for one rig with the engine's tensors as arguments and results: no batch axis."""

    def __init__(self, network: SemiSmdNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        images: Tensor,
        intrinsics: Tensor,
        base_T_cam: Tensor,
        camera_valid: Tensor,
        memory: Tensor,
        memory_valid: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """All float32: (N,3,H,W), (N,3,3), (N,4,4), (N), (N,C,h,w), (1) to `OUTPUTS` in order."""
        inputs = NetworkInput(
            images[None], intrinsics[None], base_T_cam[None], camera_valid[None], memory[None], memory_valid
        )
        output = self.network(inputs)
        depth, confidence, semantics = self.network.publish(output, inputs.camera_valid_bn)
        return depth[0], confidence[0], semantics[0], output.memory_bnchw[0], output.ego_motion_b44[0]


def example_inputs(network: SemiSmdNetwork, cameras: int) -> tuple[Tensor, ...]:
    """Plausible inputs for tracing: a ring of cameras 1.5 m above the ground."""
    config = network.config
    yaw = torch.arange(cameras) * (2 * torch.pi / max(cameras, 1))
    zero, one = torch.zeros(cameras), torch.ones(cameras)
    right, down, forward = (yaw.sin(), -yaw.cos(), zero), (zero, zero, -one), (yaw.cos(), yaw.sin(), zero)
    base_T_cam = torch.eye(4).repeat(cameras, 1, 1)
    base_T_cam[:, :3, :3] = torch.stack([torch.stack(column, dim=-1) for column in (right, down, forward)], dim=-1)
    base_T_cam[:, 2, 3] = 1.5
    focal = 0.6 * config.width
    intrinsics = torch.tensor([[focal, 0, config.width / 2], [0, focal, config.height / 2], [0, 0, 1.0]])
    images = torch.rand(cameras, 3, config.height, config.width)
    memory = network.empty_memory(1, cameras, config.height, config.width)[0]
    return images, intrinsics.repeat(cameras, 1, 1), base_T_cam, one, memory, torch.zeros(1)


def metadata(config: NetworkConfig, card: dict[str, Any]) -> dict[str, Any]:
    """The JSON object stored under METADATA_KEY; `card` is the checkpoint's (its `command` is what trained it)."""
    return {
        'contract': CONTRACT,
        'name': f'semi_smd_{config.name}',
        'version': card['version'],
        'height': config.height,
        'width': config.width,
        'max_cameras': MAX_CAMERAS,
        'depth_min': config.depth_min,
        'depth_max': config.depth_max,
        'depth_map': DEPTH_MAP.format(far=config.prior_far),
        'classes': list(config.classes),
        'fp16_scopes': list(FP16_SCOPES),
        'trained_on': card['trained_on'],
        'scores': card['scores'],
        'command': card['command'],
    }


def export_onnx(network: SemiSmdNetwork, path: Path, card: dict[str, Any]) -> None:
    """Write `network` to `path` with N symbolic and height and width of its config fixed."""
    module = EngineModule(network).eval()
    cameras = {0: 'N'}
    dynamic = {name: cameras for name in (*INPUTS[:-1], *OUTPUTS[:-1])}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix('.part')
    with warnings.catch_warnings():
        # tracing warns about Python-side shape arithmetic (constant: H and W are fixed) and its own deprecation
        warnings.simplefilter('ignore')
        torch.onnx.export(
            module,
            example_inputs(network, 6),
            str(part),
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            dynamic_axes=dynamic,
            opset_version=OPSET,
            dynamo=False,
        )
    model = onnx.load(str(part))
    declare_shapes(model, network.config)
    onnx.helper.set_model_props(model, {METADATA_KEY: json.dumps(metadata(network.config, card))})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(part))
    checksum = hashlib.sha256(part.read_bytes()).hexdigest()
    os.replace(part, path)
    # The engine loads a model only beside its checksum; an interruption here leaves one that is refused, not trusted.
    Path(f'{path}.sha256').write_text(f'{checksum}  {path.name}\n', encoding='ascii')
    logger.info('wrote %s (%.1f MB)', path, path.stat().st_size / 1e6)


def declare_shapes(model: onnx.ModelProto, config: NetworkConfig) -> None:
    """Give the outputs the fixed sizes that tracing leaves unnamed, so that readers can check them."""
    image, coarse = (config.height, config.width), (config.height // 4, config.width // 4)
    memory = (config.memory_channels, config.height // FEATURE_STRIDE, config.width // FEATURE_STRIDE)
    shapes: dict[str, tuple[int, ...]] = {
        'depth': (1, *image),
        'confidence': (1, *image),
        'semantics': coarse,
        'memory_out': memory,
        'ego_motion': (4,),
    }
    for output in model.graph.output:
        for dimension, size in zip(output.type.tensor_type.shape.dim[1:], shapes.get(output.name, ()), strict=False):
            dimension.dim_value = size


def export_checkpoint(checkpoint: Path, output: Path, size: tuple[int, int] | None = None) -> None:
    """Export a checkpoint; `size` (height, width) overrides the input size, weights are independent of it."""
    network, card = load_checkpoint(checkpoint)
    if size is not None:
        resized = SemiSmdNetwork(replace(network.config, height=size[0], width=size[1]))
        resized.load_state_dict(network.state_dict())
        network = resized
    export_onnx(network, output, card)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog='semi-smd export', description='Export a checkpoint to ONNX.')
    parser.add_argument('checkpoint', type=Path, help='the .safetensors file; its .json lies beside it')
    parser.add_argument('output', type=Path, help='the .onnx file to write')
    parser.add_argument('--size', type=int, nargs=2, metavar=('HEIGHT', 'WIDTH'), help='another input size')
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format='%(message)s')
    size = (options.size[0], options.size[1]) if options.size else None
    try:
        export_checkpoint(options.checkpoint, options.output, size)
    except ValueError as error:  # a CheckpointError, or a size that cannot be
        parser.error(str(error))
    return 0


if __name__ == '__main__':
    sys.exit(main())
