# SPDX-License-Identifier: Apache-2.0
"""What a network costs: parameters, GFLOPs and ONNX Runtime time, per part.

GFLOPs are 2 x multiply-adds of every convolution, linear layer and matrix product, attention and matching included.
What is done element by element (rays, the small normal equations, convex upsampling) is not in them, but in the times.
Times are the least of several runs of the exported file; a part's time is its share of the profiled nodes.
"""

from __future__ import annotations

import copy
import json
import tempfile
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch.utils.flop_counter import FlopCounterMode

from semi_smd_ros.network.config import NetworkConfig
from semi_smd_ros.network.export import INPUTS, example_inputs, export_onnx
from semi_smd_ros.network.model import NetworkInput, SemiSmdNetwork

FUSION_PARTS = ('fusion', 'matching')
"""Space, time and semantics together; matching with t-1 is a part of what time costs."""
OTHER = 'geometry'
"""What lies in no module: rays, cues, triangulation, memory, publishing, changes of memory layout."""
CARD = {'version': 'profile', 'trained_on': 'nothing', 'scores': {}, 'command': 'semi-smd profile'}


def count_flops(network: SemiSmdNetwork, cameras: int) -> dict[str, float]:
    """GFLOPs of one set of `cameras` images with memory, per part. Shapes alone are run, no values."""
    *rig, memory_valid = (value.to('meta') for value in example_inputs(network, cameras))
    inputs = NetworkInput(*[*(value[None] for value in rig), memory_valid])
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        copy.deepcopy(network).to('meta').eval()(inputs)
    counts = {name: sum(operators.values()) / 1e9 for name, operators in counter.get_flop_counts().items()}
    root = type(network).__name__
    parts = {part: counts.get(f'{root}.{part}', 0.0) for part, _ in network.named_children()}
    for layer, part in layers_outside(network).items():
        parts[part] += counts.get(f'{root}.{part}.{layer}', 0.0)
    return {**parts, OTHER: counts[root] - sum(parts.values())}


def layers_outside(network: SemiSmdNetwork) -> dict[str, str]:
    """Layers that run in some `features`, outside their part's own forward, and the part of each."""
    config = network.config
    matching = ('query_16', 'query_8', 'key_16', 'key_8') if config.match_width else ()
    sweep = ('from_4', 'from_8') if config.sweep_width else ()
    return {**dict.fromkeys(matching, 'matching'), **dict.fromkeys(sweep, 'sweep')}


def part_of(node: str, network: SemiSmdNetwork) -> str:
    """The part that a node of the exported graph belongs to, from the module scopes in its name."""
    scope = node.split('/')[2] if node.startswith('/network/') else ''
    if scope in dict(network.named_children()):
        return scope
    return layers_outside(network).get(scope, OTHER)


def measure(network: SemiSmdNetwork, cameras: int, threads: int, runs: int) -> tuple[float, dict[str, float]]:
    """Milliseconds of one set in ONNX Runtime, in all and per part."""
    config = network.config
    values = [value.numpy() for value in example_inputs(network, cameras)]
    feed = dict(zip(INPUTS, values))
    feed['memory'] = np.random.default_rng(0).standard_normal(feed['memory'].shape, dtype=np.float32)
    feed['memory'][:, 0] = 1
    feed['memory_valid'] = np.ones(1, np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f'{config.name}.onnx'
        export_onnx(network, path, CARD)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])
        times = []
        for _ in range(runs + 1):  # the first one warms up
            began = time.perf_counter()
            session.run(None, feed)
            times.append(1e3 * (time.perf_counter() - began))
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / 'profile')
        profiled = onnxruntime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])
        for _ in range(runs + 1):
            profiled.run(None, feed)
        events = json.loads(Path(profiled.end_profiling()).read_text())
    spent: dict[str, list[int]] = defaultdict(list)
    for event in events:
        if event.get('cat') == 'Node' and event['name'].endswith('_kernel_time'):
            spent[event['name']].append(event['dur'])
    parts: dict[str, float] = defaultdict(float)
    for node, durations in spent.items():
        parts[part_of(node, network)] += min(durations)
    total, best = sum(parts.values()), min(times[1:])
    return best, {part: best * value / total for part, value in parts.items()}


def profile(config: NetworkConfig, cameras: int = 6, threads: int = 2, runs: int = 10) -> dict[str, Any]:
    """Everything that `semi-smd profile` tells, as a JSON object; `parts` in the order of the network's modules."""
    network = SemiSmdNetwork(config).eval()
    flops = count_flops(network, cameras)
    separate = count_flops(SemiSmdNetwork(replace(config, fusion='separate')), cameras)
    time_ms, times = measure(network, cameras, threads, runs)
    sizes = {name: sum(p.numel() for p in part.parameters()) / 1e6 for name, part in network.named_children()}
    parts = {
        part: {'params_m': sizes.get(part, 0.0), 'gflops': flops[part], 'time_ms': times.get(part, 0.0)}
        for part in flops
    }
    return {
        'config': config.name,
        'height': config.height,
        'width': config.width,
        'cameras': cameras,
        'threads': threads,
        'fusion': config.fusion,
        'params_m': sum(sizes.values()),
        'gflops': sum(flops.values()),
        'fusion_gflops': sum(flops.get(part, 0.0) for part in FUSION_PARTS),
        'fusion_gflops_separate': sum(separate.get(part, 0.0) for part in FUSION_PARTS),
        'time_ms': time_ms,
        'fusion_time_ms': sum(times.get(part, 0.0) for part in FUSION_PARTS),
        'parts': parts,
    }
