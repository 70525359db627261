# SPDX-License-Identifier: Apache-2.0
"""The whole pipeline around an engine on a device: the processor's results, and only what is read comes back."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden_cases import CLOUD_CASES, EVERYTHING, PICTURE_CASES, PictureCase, hard_depths
from host_device import BridgedEngine, HostContext

from semi_smd_ros.runtime import (
    CameraImage,
    CloudConfig,
    EngineOutputs,
    InputError,
    ModelError,
    PipelineConfig,
    SurroundDepth,
    SurroundDepthPipeline,
    SurroundFrame,
    label_images,
    load_engine,
)
from semi_smd_ros.runtime.cuda.driver import CudaError
from semi_smd_ros.runtime.engine.samples import read_samples
from semi_smd_ros.runtime.preprocess import engine_inputs, prepare_rig, rectify_images

MS = 1_000_000
MODEL = Path(__file__).parents[2] / 'models' / 'semi_smd_small.onnx'
CASES = [case for case in PICTURE_CASES if len(case.encodings) > 1 and not {'mono16', '16UC1'} & set(case.encodings)]
MIXED = next(case for case in PICTURE_CASES if case.name == 'all kinds')
ARRAYS = ('depth_nhw', 'confidence_nhw', 'semantics_nhw', 'images_nhw3')


@pytest.fixture
def pipelines(device: tuple[Any, Any], tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes (on the device, on the processor) for so many cameras."""
    context, kernels = device
    monkeypatch.setattr('semi_smd_ros.runtime.cuda.kernels.Kernels', lambda _: kernels)

    def make(cameras: int, **of_engine: Any) -> tuple[SurroundDepthPipeline, SurroundDepthPipeline]:
        config = PipelineConfig(cloud=EVERYTHING)
        on_device = BridgedEngine(tiny_model, context, cameras, **of_engine)
        on_host = load_engine(tiny_model, threads=1)
        return SurroundDepthPipeline(on_device, config), SurroundDepthPipeline(on_host, config)

    return make


def assert_same(got: SurroundDepth, wanted: SurroundDepth, atol: float = 0) -> None:
    for name in ARRAYS:
        array, expected = getattr(got, name), getattr(wanted, name)
        assert (array.dtype, array.shape) == (expected.dtype, expected.shape), name
        np.testing.assert_allclose(array, expected, atol=atol, rtol=atol, err_msg=name)
    assert (got.camera_valid, got.stamps_ns, got.memory_reset) == (
        wanted.camera_valid, wanted.stamps_ns, wanted.memory_reset,
    )  # fmt: skip
    assert (got.prev_T_now is None) == (wanted.prev_T_now is None)
    if wanted.prev_T_now is not None:
        np.testing.assert_allclose(got.prev_T_now, wanted.prev_T_now)


@pytest.mark.parametrize('case', CASES, ids=lambda case: case.name)
def test_results_and_clouds_are_those_of_the_processors_path(pipelines: Any, case: PictureCase) -> None:
    on_device, on_host = pipelines(len(case.encodings))
    rig = case.rig
    # A gap in time wipes the memory in between.
    for stamp in (0, 100 * MS, 200 * MS, 900 * MS, 1000 * MS):
        frame = case.frame(stamp, rig)
        got, wanted = on_device.process(frame), on_host.process(frame)
        for config in (EVERYTHING, CLOUD_CASES['all filters']):
            on_device.config = on_host.config = PipelineConfig(cloud=config)
            cloud, expected = on_device.cloud(got), on_host.cloud(wanted)
            assert bytes(cloud.data) == bytes(expected.data)
            assert cloud.fields == expected.fields
            on_device.recycle(cloud)
        assert_same(got, wanted)


@pytest.mark.parametrize('dtype', [np.float32, np.float16])
def test_whatever_the_engine_gives_is_finished_alike(
    pipelines: Any, dtype: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zeros, negatives, NaN, infinities, and every number that half precision has."""
    on_device, on_host = pipelines(6, dtype=dtype)
    depth, confidence = hard_depths((6, 1, 48, 80))
    every_half = np.arange(6 * 48 * 80, dtype=np.uint32).astype(np.uint16).view(np.float16).reshape(depth.shape)
    labels = np.random.default_rng(0).integers(0, 19, (6, 6, 10)).astype(np.uint8)
    given = (depth, every_half.astype(np.float32)) if dtype is np.float32 else (every_half, confidence.astype(dtype))
    for stamp, (first, second) in enumerate((given, given[::-1])):
        made = EngineOutputs(first.astype(np.float32), second.astype(np.float32), labels, np.eye(4))
        monkeypatch.setattr(on_device.engine._engine, 'run', lambda inputs, use_memory, made=made: made)
        monkeypatch.setattr(on_host.engine, 'run', lambda inputs, use_memory, made=made: made)
        frame = MIXED.frame(stamp * 100 * MS)
        got, wanted = on_device.process(frame), on_host.process(frame)
        for config in (EVERYTHING, CLOUD_CASES['all filters']):
            on_device.config = on_host.config = PipelineConfig(cloud=config)
            assert bytes(on_device.cloud(got).data) == bytes(on_host.cloud(wanted).data)
        assert_same(got, wanted)


def test_the_engine_gets_the_geometry_and_which_cameras_there_are(pipelines: Any) -> None:
    on_device, _ = pipelines(6)
    frame = MIXED.frame()
    on_device.process(frame)
    prepared = prepare_rig(frame.rig, 80, 48)
    inputs = engine_inputs(frame, prepared, rectify_images(frame, prepared))
    stream = on_device.engine.context.stream()
    for name in ('images', 'intrinsics', 'base_T_cam', 'camera_valid'):
        memory = on_device.engine.device_input(name)
        host = np.empty(memory.shape, memory.dtype)
        memory.copy_to(host, stream)
        stream.synchronize()
        np.testing.assert_array_equal(host, getattr(inputs, name), err_msg=name)


@pytest.mark.parametrize('labels', [np.uint8, np.int32, np.int64])
def test_an_engine_in_half_precision(pipelines: Any, labels: type) -> None:
    """float16 in and out: what differs from the processor's path is the rounding of the engine's own tensors alone."""
    on_device, on_host = pipelines(6, dtype=np.float16, labels=labels)
    frame = MIXED.frame()
    got, wanted = on_device.process(frame), on_host.process(frame)
    assert_same(got, wanted, atol=2**-10)
    known = np.isfinite(wanted.depth_nhw)
    # The engine saw images that were rounded, too.
    assert np.unique(got.depth_nhw[known]).size > 300
    assert (got.depth_nhw[known].astype(np.float16) == got.depth_nhw[known]).all()


def test_what_nobody_wants_is_not_made(pipelines: Any) -> None:
    on_device, on_host = pipelines(6)
    for stamp, (depth, semantics) in enumerate([(True, False), (False, True), (False, False), (True, True)]):
        frame = MIXED.frame(stamp * 100 * MS)
        got = on_device.process(frame, depth=depth, semantics=semantics)
        wanted = on_host.process(frame, depth=depth, semantics=semantics)
        assert got.has_depth == wanted.has_depth == depth
        assert_same(got, wanted)


def test_nothing_comes_back_that_is_not_read(pipelines: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Depth that was asked for, the motion, the cloud's points and their number; and what somebody looks at."""
    on_device, _ = pipelines(6)
    on_device.process(MIXED.frame())
    memory = type(on_device.engine.device_input('images'))
    came_back: list[int] = []
    for name in ('copy_to', 'copy_head_to'):
        copy = getattr(memory, name)

        def counted(self: Any, host: np.ndarray, stream: Any, copy: Any = copy) -> None:
            came_back.append(host.nbytes)
            copy(self, host, stream)

        monkeypatch.setattr(memory, name, counted)
    monkeypatch.setattr(on_device.engine, 'enqueue', lambda stream, use_memory: None)
    got = on_device.process(MIXED.frame(100 * MS), semantics=False)
    cloud = on_device.cloud(got)
    depth_bytes, pixels = 6 * 48 * 80 * 4, 6 * 48 * 80
    assert sorted(came_back) == sorted([depth_bytes, 16 * 4, 4, len(cloud.data)])
    came_back.clear()
    assert got.depth_nhw.nbytes == depth_bytes
    assert got.preview_nhw3.shape == (6, 12, 20, 3)
    assert came_back == [6 * 12 * 20 * 3]
    assert got.images_nhw3 is got.images_nhw3
    assert came_back[1:] == [3 * pixels]


def test_a_result_is_read_before_the_next_set(pipelines: Any) -> None:
    on_device, on_host = pipelines(6)
    first = MIXED.frame()
    old, wanted = on_device.process(first), on_host.process(first)
    np.testing.assert_array_equal(old.depth_nhw, wanted.depth_nhw)
    kept = old.depth_nhw
    changed, kept_all = dataclasses.replace(old, prev_T_now=None), old.on_host()
    new = on_device.process(MIXED.frame(100 * MS))
    # What has been read stays what it was.
    np.testing.assert_array_equal(old.depth_nhw, wanted.depth_nhw)
    assert old.depth_nhw is kept
    assert not np.array_equal(new.images_nhw3, wanted.images_nhw3)
    # A copy that was changed has everything on the host, and is packed there.
    assert_same(changed, dataclasses.replace(wanted, prev_T_now=None))
    assert_same(kept_all, wanted)
    np.testing.assert_array_equal(changed.preview_nhw3, wanted.preview_nhw3)
    assert bytes(on_device.cloud(changed).data) == bytes(on_host.cloud(wanted).data)


def test_what_was_not_read_in_time_is_refused(pipelines: Any) -> None:
    on_device, _ = pipelines(6)
    old = on_device.process(MIXED.frame())
    on_device.process(MIXED.frame(100 * MS))
    for name in ('depth_nhw', 'images_nhw3', 'preview_nhw3'):
        with pytest.raises(RuntimeError, match='the next set has overwritten them'):
            getattr(old, name)
    with pytest.raises(RuntimeError, match='overwritten'):
        on_device.cloud(old)


def test_a_failed_set_leaves_a_pipeline_that_works(pipelines: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    on_device, on_host = pipelines(2)
    case = PictureCase('plain', (160, 96), ('bgr8', 'bgr8'))
    rig = case.rig
    on_device.process(case.frame(0, rig))
    broken = SurroundFrame(rig, (CameraImage(np.zeros((9, 9, 3), np.uint8), 'bgr8', 0), None), 100 * MS)
    with pytest.raises(InputError, match=r'camera cam_0: image is 9x9; its CameraInfo says 160x96'):
        on_device.process(broken)

    def fail(stream: Any, use_memory: bool) -> None:
        raise ModelError('the engine broke')

    with monkeypatch.context() as patch:
        patch.setattr(on_device.engine, 'enqueue', fail)
        with pytest.raises(ModelError, match='broke'):
            on_device.process(case.frame(200 * MS, rig))
    frame = case.frame(300 * MS, rig)
    got, wanted = on_device.process(frame), on_host.process(frame)
    assert got.memory_reset == 'a set failed'
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(got, name), getattr(wanted, name))


@pytest.mark.parametrize('device', ['late', pytest.param('gpu', marks=pytest.mark.gpu)], indirect=True)
def test_the_shipped_model_on_frames_of_a_drive(device: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Real pictures, real weights, memory carried on."""
    context, kernels = device
    monkeypatch.setattr('semi_smd_ros.runtime.cuda.kernels.Kernels', lambda _: kernels)
    on_device = SurroundDepthPipeline(BridgedEngine(MODEL, context, 6))
    on_host = SurroundDepthPipeline(load_engine(MODEL, threads=1))
    sizes = set()
    for frame in read_samples(6):
        got, wanted = on_device.process(frame), on_host.process(frame)
        for config in (CloudConfig(), CloudConfig(stride=1, voxel_size=0.2, semantics=True)):
            on_device.config = on_host.config = PipelineConfig(cloud=config)
            cloud = on_device.cloud(got)
            assert bytes(cloud.data) == bytes(on_host.cloud(wanted).data)
            sizes.add(cloud.n_points)
        assert_same(got, wanted)
    assert len(sizes) > 2
    assert min(sizes) > 1000


def test_a_changed_rig_is_taken_and_one_of_another_size_refused(pipelines: Any) -> None:
    on_device, on_host = pipelines(2)
    for stamp, lens in enumerate((None, 'plumb_bob', 'equidistant', None)):
        case = PictureCase('lens', (160, 96), ('rgb8', 'rgb8'), lens)
        frame = case.frame(stamp * 100 * MS)
        got, wanted = on_device.process(frame), on_host.process(frame)
        assert bytes(on_device.cloud(got).data) == bytes(on_host.cloud(wanted).data)
        assert_same(got, wanted)
    with pytest.raises(ModelError, match='built for 2 cameras; the rig has 3'):
        on_device.process(PictureCase('three', (160, 96), ('rgb8',) * 3).frame())


def test_stages_are_timed_and_nobody_rectifies_early(pipelines: Any) -> None:
    on_device, on_host = pipelines(6)
    for pipeline in (on_device, on_host):
        result = pipeline.process(MIXED.frame())
        pipeline.cloud(result)
        np.testing.assert_array_equal(label_images(result).shape, (6, 48, 80))
    names = {'prepare rig', 'preprocess', 'engine', 'postprocess', 'cloud'}
    assert set(on_host.stats.summary()) == names
    assert set(on_device.stats.summary()) == names | {'gpu rectify', 'gpu engine', 'gpu finish'}
    assert on_host.prepared is not None
    assert on_device.prepared is None


def test_without_a_compiler_the_processor_does_its_part_and_says_why(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Any) -> None:
        raise CudaError('there is no NVRTC: install it')

    monkeypatch.setattr('semi_smd_ros.runtime.cuda.kernels.Kernels', refuse)
    said: list[str] = []
    engine = BridgedEngine(tiny_model, HostContext(is_lazy=False), 6)
    monkeypatch.setattr(engine, 'run', engine._engine.run)
    pipeline = SurroundDepthPipeline(engine, PipelineConfig(cloud=EVERYTHING), said.append)
    on_host = SurroundDepthPipeline(load_engine(tiny_model, threads=1), PipelineConfig(cloud=EVERYTHING))
    frame = MIXED.frame()
    assert_same(pipeline.process(frame), on_host.process(frame))
    assert len(said) == 1
    assert 'worked on by the processor: there is no NVRTC: install it' in said[0]
