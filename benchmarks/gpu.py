# SPDX-License-Identifier: Apache-2.0
"""What the engines and the whole pipeline cost on this GPU, side by side in one run.

    python benchmarks/gpu.py                     # writes out/gpu.json and the tables of docs/performance.md
    python benchmarks/gpu.py --from out/gpu.json # only writes the tables again, anywhere

Needs an NVIDIA GPU that nothing else uses, TensorRT, pycuda and NVRTC; with PyTorch (CUDA) and onnxruntime-gpu their
rows are measured, too, and without them say why not. Models are `small` as it ships and `base` with whatever weights
models/ has, or random ones: latency does not depend on them. Engines take turns, block by block, so that clocks and
heat hit all alike. Ends with 1 where a budget is broken, with 2 where nothing can be measured.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpu_engines import measure_engines, say
from gpu_paths import measure_paths
from gpu_report import MODELS, EndToEndRow, EngineRow, GpuReport, budgets, from_json, tables, to_json, write_tables

from semi_smd_ros.runtime.cuda.driver import CudaContext, CudaError

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / 'docs' / 'performance.md'


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write, judge; see the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--models', nargs='+', choices=MODELS, default=MODELS, help='which models (both)')
    parser.add_argument('--cameras', type=_positive, default=6, help='cameras of the rig (6)')
    parser.add_argument('--sets', type=_positive, default=300, help='timed sets of each engine and path (300)')
    parser.add_argument('--warm-up', type=_positive, default=30, help='sets before the timed ones (30)')
    parser.add_argument('--json', type=Path, default=ROOT / 'out' / 'gpu.json', help='where the figures go')
    parser.add_argument('--page', type=Path, default=PAGE, help='the page whose tables are written')
    parser.add_argument('--from', dest='source', type=Path, help='write the tables from this file, measure nothing')
    options = parser.parse_args(arguments)
    try:
        report = from_json(options.source.read_text(encoding='utf-8')) if options.source else measure(options)
    except (CudaError, ValueError, OSError) as error:
        sys.stderr.write(f'benchmarks/gpu.py cannot measure: {error}\n')
        return 2
    if not options.source:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(to_json(report), encoding='utf-8')
    write_tables(options.page, report)
    sys.stdout.write(tables(report) + '\n')
    return 1 if any(budget.verdict == 'BROKEN' for budget in budgets(report)) else 0


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f'{number}; expected 1 or more')
    return number


def measure(options: argparse.Namespace) -> GpuReport:
    """Everything, on the GPU of this machine. Raises CudaError where there is none."""
    engines: list[EngineRow] = []
    end_to_end: list[EndToEndRow] = []
    with CudaContext() as context, tempfile.TemporaryDirectory() as folder:
        for name in options.models:
            say(f'{name}: exporting')
            network, path, weights = model_file(name, Path(folder))
            engines += measure_engines(name, network, path, context, options)
            end_to_end += measure_paths(name, path, options)
            say(f'{name}: done ({weights})')
        return GpuReport(machine(context), options.cameras, tuple(engines), tuple(end_to_end))


def machine(context: CudaContext) -> dict[str, str]:
    """What was measured on, and with which versions."""
    device = context.device
    found = {
        'GPU': device.name,
        'compute capability': '.'.join(map(str, device.capability)),
        'driver for CUDA': '.'.join(map(str, device.cuda_version)),
        'Python': platform.python_version(),
    }
    for name, module in (('TensorRT', 'tensorrt'), ('PyTorch', 'torch'), ('ONNX Runtime', 'onnxruntime')):
        try:
            found[name] = str(__import__(module).__version__)
        except ImportError:
            found[name] = 'none'
    return found


def model_file(name: str, folder: Path) -> tuple[Any, Path, str]:
    """(network in PyTorch or None, its ONNX file, whose weights these are).

    Raises ValueError for a model that does not ship and cannot be exported without PyTorch.
    """
    shipped = ROOT / 'models' / f'semi_smd_{name}.onnx'
    try:
        import torch

        from semi_smd_ros.network.checkpoint import load_checkpoint
        from semi_smd_ros.network.config import CONFIGS
        from semi_smd_ros.network.export import export_onnx
        from semi_smd_ros.network.model import SemiSmdNetwork
    except ImportError as error:
        if shipped.is_file():
            return None, shipped, 'its own weights'
        raise ValueError(f'{name} does not ship, and exporting it needs PyTorch and onnx ({error})') from error
    checkpoint = shipped.with_suffix('.safetensors')
    if checkpoint.is_file():
        network, card = load_checkpoint(checkpoint)
        weights = 'its own weights'
    else:
        torch.manual_seed(0)
        network = SemiSmdNetwork(CONFIGS[name]).eval()
        card = {'version': '0', 'trained_on': 'nothing: random weights', 'scores': {}, 'command': 'benchmarks/gpu.py'}
        weights = 'random weights'
    path = folder / f'semi_smd_{name}.onnx'
    export_onnx(network, path, card)
    return network, path, weights


if __name__ == '__main__':
    sys.exit(main())
