# SPDX-License-Identifier: Apache-2.0
"""benchmarks/gpu.py without a GPU: its statistics, its tables, its JSON, and how it refuses to measure nothing.

What it runs on a GPU runs here on the processor: the turns, the comparison of depths, a whole path.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'benchmarks'))

import gpu  # noqa: E402
import gpu_engines  # noqa: E402
import gpu_paths  # noqa: E402
import gpu_report  # noqa: E402
import gpu_runtimes  # noqa: E402
from gpu_report import EndToEndRow, EngineRow, GpuReport, Latency, Parity  # noqa: E402

from semi_smd_ros.runtime import SurroundDepthPipeline, load_engine  # noqa: E402
from semi_smd_ros.runtime.cuda.driver import CudaContext  # noqa: E402

PAGE = ROOT / 'docs' / 'performance.md'
OPTIONS = argparse.Namespace(sets=30, warm_up=2, cameras=2)


@pytest.fixture
def no_memory() -> Any:
    """In the place of a context: of whose memory nothing is told."""

    class Context:
        def memory_bytes(self) -> tuple[int, int]:
            return 0, 0

    return Context()


def report() -> GpuReport:
    """Figures as they might be; no measurement."""
    latency = Latency(2.0, 2.5, 300)
    engines = (
        EngineRow('base', gpu_report.TENSORRT, 'fp16', '', latency, 512.4, Parity('x', 0.001, 0.0123, 0.0005)),
        EngineRow('base', gpu_report.EAGER, 'fp16', '', Latency(9.0, 11.0, 300), 2000.0),
        EngineRow('base', gpu_report.TENSORRT, 'int8', 'ModelError: a reason | with a bar\nand a line'),
    )
    stages = {'preprocess': Latency(1.0, 1.5, 300), 'engine': Latency(2.5, 3.0, 300)}
    paths = (
        EndToEndRow('base', gpu_report.DEVICE, '', Latency(6.25, 7.0, 300), stages, 'pictures equal, cloud equal'),
        EndToEndRow('base', gpu_report.GRAPH, 'CudaError: no'),
    )
    return GpuReport({'GPU': 'an example'}, 6, engines, paths)


def test_percentiles_are_those_of_the_times() -> None:
    latency = Latency.of(list(range(101)))
    assert (latency.p50, latency.p99, latency.n) == (50, 99, 101)
    with pytest.raises(ValueError, match='no time was measured'):
        Latency.of([])


def test_parity_is_relative_and_tells_sky_apart() -> None:
    reference = np.array([[10.0, 20.0, np.inf, np.nan, 40.0, 50.0]], np.float32)
    depth = np.array([[11.0, 20.0, np.inf, 3.0, np.inf, 50.0]], np.float32)
    parity = Parity.of('x', reference, depth)
    assert parity.p50 == 0
    assert parity.p99 == pytest.approx(0.1, rel=0.05)
    assert parity.finite == pytest.approx(2 / 6)
    with pytest.raises(ValueError, match='the path is broken'):
        Parity.of('x', reference, np.full_like(reference, np.nan))
    with pytest.raises(ValueError, match=r'shape \(1, 5\); expected \(1, 6\)'):
        Parity.of('x', reference, depth[:, :5])


def test_json_comes_back_as_it_was_with_its_budgets() -> None:
    text = gpu_report.to_json(report())
    assert gpu_report.from_json(text) == report()
    judged = {budget['name']: (budget['value'], budget['verdict']) for budget in json.loads(text)['budgets']}
    assert list(judged.values()) == [(2.0, 'kept'), (4.5, 'kept'), (6.25, 'kept')]


@pytest.mark.parametrize(
    ('text', 'says'),
    [('{}', 'no report'), ('[]', 'no report'), ('{"schema": 0}', 'schema 0; expected 1'), ('x', 'Expecting value')],
)
def test_what_is_no_report_is_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        gpu_report.from_json(text)


def test_budgets_are_judged_at_their_very_limits() -> None:
    slow = Latency(3.0, 3.0, 1)
    at_limit = replace(report(), engines=(replace(report().engines[0], latency=slow), *report().engines[1:]))
    assert [budget.verdict for budget in gpu_report.budgets(at_limit)] == ['kept', 'BROKEN', 'kept']
    assert [budget.verdict for budget in gpu_report.budgets(None)] == [gpu_report.NOT_YET] * 3


def test_the_tables_hold_every_figure_and_every_reason() -> None:
    text = gpu_report.tables(report())
    assert '| TensorRT | FP16 | 2.00 | 2.50 | 512 | 0.100 % / 1.230 % / 0.050 % |' in text
    assert r'| TensorRT | INT8 | not run: ModelError: a reason \| with a bar and a line |  |  |  |' in text
    assert 'preprocess 1.00, engine 2.50 | pictures equal, cloud equal |' in text
    assert '| faster than PyTorch eager FP16 | at least 4 x | 4.50 x | kept |' in text
    lines = [line for line in text.splitlines() if line.startswith('| TensorRT |')]
    assert len(lines) == 6
    assert all(gpu_report.NOT_YET in line for line in lines[:3])


def test_the_page_says_what_is_measured(tmp_path: Path) -> None:
    """And, as it stands, that nothing is: whoever measures writes it with the benchmark, by hand nobody does."""
    page = tmp_path / 'page.md'
    page.write_text(PAGE.read_text())
    gpu_report.write_tables(page, report())
    assert '6.25' in page.read_text()
    gpu_report.write_tables(page, None)
    if f'**{gpu_report.NOT_YET.capitalize()}**' in PAGE.read_text():
        assert page.read_text() == PAGE.read_text()
    page.write_text('no marks')
    with pytest.raises(ValueError, match='expected one line'):
        gpu_report.write_tables(page, report())
    assert page.read_text() == 'no marks'


def test_the_command_fails_clearly_without_a_gpu(tmp_path: Path) -> None:
    page = tmp_path / 'page.md'
    page.write_text(PAGE.read_text())
    command = [sys.executable, str(ROOT / 'benchmarks' / 'gpu.py'), '--page', str(page), '--json', str(tmp_path / 'x')]
    # Whatever is here: a process that may see no device.
    environment = {'PYTHONPATH': str(ROOT), 'CUDA_VISIBLE_DEVICES': '', 'PATH': ''}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith('benchmarks/gpu.py cannot measure: ')
    assert not (tmp_path / 'x').exists()
    assert page.read_text() == PAGE.read_text()


def test_tables_are_written_again_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, figures = tmp_path / 'page.md', tmp_path / 'gpu.json'
    page.write_text(PAGE.read_text())
    figures.write_text(gpu_report.to_json(report()))
    assert gpu.main(['--from', str(figures), '--page', str(page)]) == 0
    assert gpu_report.tables(report()) in page.read_text()
    assert '6.25' in capsys.readouterr().out
    slow = replace(report(), end_to_end=(replace(report().end_to_end[0], total=Latency(9.0, 9.0, 1)),))
    figures.write_text(gpu_report.to_json(slow))
    assert gpu.main(['--from', str(figures), '--page', str(page)]) == 1
    assert gpu.main(['--from', str(tmp_path / 'missing'), '--page', str(page)]) == 2
    assert 'missing' in capsys.readouterr().err


@pytest.mark.parametrize('arguments', [['--sets', '0'], ['--models', 'huge'], ['--cameras', 'x']])
def test_bad_arguments_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        gpu.main(arguments)
    assert 'error: argument' in capsys.readouterr().err


def test_engines_take_turns_and_keep_their_memory(tiny_model: Path) -> None:
    cpu = ('CPUExecutionProvider',)
    first, second = (gpu_runtimes.OrtCuda(tiny_model, cpu) for _ in range(2))
    height, width = first.input_size
    rng = np.random.default_rng(0)
    arrays = {
        'images': rng.random((2, 3, height, width), np.float32),
        'intrinsics': np.tile(np.eye(3), (2, 1, 1)),
        'base_T_cam': np.tile(np.eye(4), (2, 1, 1)),
        'camera_valid': np.ones(2),
    }
    made = gpu_engines.depths(first, [arrays, arrays])
    np.testing.assert_allclose(made[1][:, 0], 10 * arrays['images'].mean(axis=1) + 1, rtol=1e-5)
    times = gpu_engines.in_turns({('a', 'x'): first, ('b', 'y'): second}, arrays, OPTIONS)
    assert {engine: len(taken) for engine, taken in times.items()} == {('a', 'x'): 30, ('b', 'y'): 30}
    # The tiny model's memory counts the runs: warm-up, one before each of two blocks, the timed ones.
    assert second._memory.numpy().max() == 2 + 2 + 30
    with pytest.raises(gpu_runtimes.CannotRun, match='install onnxruntime-gpu'):
        gpu_runtimes.OrtCuda(tiny_model, ('NoSuchExecutionProvider',))


def test_a_whole_path_is_timed_and_compared(tiny_model: Path) -> None:
    pipeline = SurroundDepthPipeline(load_engine(tiny_model, threads=1))
    row = gpu_paths.measure_path('tiny', 'processor', pipeline, gpu_paths.surround_frame(2), OPTIONS)
    assert row.total is not None
    assert row.total.n == 30
    assert {'preprocess', 'engine', 'postprocess', 'cloud'} == set(row.stages)
    assert all(stage.n == 30 for stage in row.stages.values())
    assert row.parity.startswith("pictures equal, cloud equal (processor's path); ")
    with pytest.raises(gpu_runtimes.CannotRun, match='install onnxruntime-gpu'):
        gpu_paths.ort_cuda_engine(tiny_model)


def test_what_cannot_run_here_is_told_row_by_row(no_memory: CudaContext) -> None:
    """Every engine and every path is tried; those that cannot run cost the others nothing."""
    model = ROOT / 'models' / 'semi_smd_small.onnx'
    options = argparse.Namespace(sets=2, warm_up=1, cameras=6)
    engines = gpu_engines.measure_engines('small', None, model, no_memory, options)
    paths = gpu_paths.measure_paths('small', model, options)
    assert [(row.runtime, row.precision) for row in engines] == list(gpu_report.ENGINES)
    assert [row.path for row in paths] == list(gpu_report.PATHS)
    assert all(bool(row.skipped) == (row.latency is None) for row in engines)
    assert all(bool(row.skipped) == (row.total is None) for row in paths)
    assert 'PyTorch is not installed' in engines[3].skipped
    text = gpu_report.tables(GpuReport({}, 6, tuple(engines), tuple(paths)))
    # `base` was not tried.
    assert text.count(f'| {gpu_report.NOT_YET} |') == len(gpu_report.ENGINES) + len(gpu_report.budgets(None))


def test_pytorch_gives_the_depth_of_the_exported_file() -> None:
    pytest.importorskip('torch')
    from semi_smd_ros.network.checkpoint import load_checkpoint
    from semi_smd_ros.network.export import example_inputs

    path = ROOT / 'models' / 'semi_smd_small.onnx'
    network, _ = load_checkpoint(path.with_suffix('.safetensors'))
    names = ('images', 'intrinsics', 'base_T_cam', 'camera_valid')
    arrays = {name: tensor.numpy() for name, tensor in zip(names, example_inputs(network, 2), strict=False)}
    plain = gpu_runtimes.OrtCuda(path, ('CPUExecutionProvider',))
    eager = gpu_runtimes.Torch(network, compiled=False, device='cpu')
    reference, made = (np.stack(gpu_engines.depths(runtime, [arrays] * 2)) for runtime in (plain, eager))
    parity = Parity.of('ONNX Runtime', reference, made)
    assert parity.p99 < 1e-3
    assert parity.finite == 0
    eager.close()
    with pytest.raises(RuntimeError, match='closed'):
        eager._module()
    with pytest.raises(gpu_runtimes.CannotRun, match='not installed'):
        gpu_runtimes.Torch(None, compiled=False)
