# SPDX-License-Identifier: Apache-2.0
"""Every parameter of a node that serves, over real DDS: described, live with an effect, or refused with the reason."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rcl_interfaces.msg import Parameter, ParameterDescriptor, ParameterType, ParameterValue
from rcl_interfaces.srv import DescribeParameters, SetParameters
from rclpy.time import Time
from ros_harness import HEIGHT, OFTEN, WIDTH, Bench, Scene, raw_image, start_node, wait_for
from sensor_msgs.msg import PointCloud2

from semi_smd_ros.nodes import parameters

MS = 10**6
# Nothing is filtered, and no set goes on without a camera that is only late on a busy machine.
TUNED = {
    'cloud.stride': 1,
    'cloud.min_range': 0.0,
    'cloud.min_height': -1000.0,
    'cloud.max_height': 1000.0,
    'sync.missing_after': 1.0,
    **OFTEN,
}
CHANGED: dict[str, Any] = {'rig': 'ddad', 'cameras': ['left']}


@pytest.fixture(scope='module')
def tuned(bench: Bench, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A node of two cameras with nothing filtered."""
    scene = Scene(bench, 'tuned', ['left', 'right'])
    scene.send_tf()
    folder = tmp_path_factory.mktemp('tuned')
    start_node(folder, scene, model=str(tiny), cameras='[left, right]', **TUNED)
    scene.until(lambda: scene.clouds and all(scene.depths.values()), 'a cloud and depth')
    yield scene
    assert scene.process.stop() == 0, scene.process.log()
    assert 'Traceback' not in scene.process.log()


def value_of(value: Any) -> ParameterValue:
    """A parameter's value as a message."""
    if isinstance(value, bool):
        return ParameterValue(type=ParameterType.PARAMETER_BOOL, bool_value=value)
    if isinstance(value, int):
        return ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=value)
    if isinstance(value, float):
        return ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=value)
    if isinstance(value, list):
        return ParameterValue(type=ParameterType.PARAMETER_STRING_ARRAY, string_array_value=value)
    return ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=value)


def set_to(scene: Scene, name: str, value: Any) -> str:
    """Set one parameter; returns the reason of a refusal, or ''."""
    request = SetParameters.Request(parameters=[Parameter(name=name, value=value_of(value))])
    result = scene.bench.call(SetParameters, f'{scene.node_name}/set_parameters', request).results[0]
    assert result.successful != bool(result.reason)
    return str(result.reason)


def describe(scene: Scene, names: list[str]) -> list[ParameterDescriptor]:
    request = DescribeParameters.Request(names=names)
    return list(scene.bench.call(DescribeParameters, f'{scene.node_name}/describe_parameters', request).descriptors)


def test_every_parameter_is_described_with_its_range(tuned: Scene) -> None:
    masks = ['ego_mask.left', 'ego_mask.right']
    found = {d.name: d for d in describe(tuned, [*parameters.BY_NAME, *masks])}
    assert set(found) == {*parameters.BY_NAME, *masks}
    for name, descriptor in found.items():
        assert len(descriptor.description) > 10, name
        if name in masks:
            continue
        parameter = parameters.BY_NAME[name]
        assert descriptor.read_only == (parameter.when == 'start'), name
        ranges = [*descriptor.integer_range, *descriptor.floating_point_range]
        if isinstance(parameter.default, (int, float)) and not isinstance(parameter.default, bool):
            assert [(r.from_value, r.to_value) for r in ranges] == [(parameter.low, parameter.high)], name
        else:
            assert not ranges, name


@pytest.mark.parametrize('parameter', parameters.PARAMETERS, ids=lambda parameter: parameter.name)
def test_a_parameter_is_live_or_refused_with_the_reason(tuned: Scene, parameter: parameters.Parameter) -> None:
    name, default = parameter.name, parameter.default
    is_number = isinstance(default, (int, float)) and not isinstance(default, bool)
    if is_number:
        assert parameter.low is not None
        assert parameter.high is not None
        for outside in (parameter.low - 1, parameter.high + 1):
            assert name in set_to(tuned, name, outside), name
        # Between default and end, so that bounds that belong together keep their order.
        other: Any = default + (parameter.high - default) / 16
        other = round(other) if isinstance(default, int) else other
    elif isinstance(default, bool):
        other = not default
    else:
        other = CHANGED.get(name) or next((c for c in parameter.choices if c != default), 'other')
    reason = set_to(tuned, name, other)
    if parameter.when == 'live':
        assert reason == ''
        assert set_to(tuned, name, TUNED.get(name, default)) == ''
    elif parameter.when == 'start':
        assert 'read-only' in reason
    else:
        assert f'{name} cannot change while the node is configured' in reason
    assert tuned.state() == 'active'


def test_an_ego_mask_is_refused_while_configured(tuned: Scene) -> None:
    assert 'ego_mask.left cannot change while the node is configured' in set_to(tuned, 'ego_mask.left', 'mask.png')


class Ramp:
    """Pictures whose left half is near and right half is far, so that filters have something to tell apart."""

    NEAR, FAR = 26, 230

    def __init__(self) -> None:
        pixels = np.full((HEIGHT, WIDTH, 3), self.NEAR, np.uint8)
        pixels[:, WIDTH // 2 :] = self.FAR
        self._image = raw_image(pixels, 'bgr8')

    def __call__(self, name: str, image: Any, info: Any) -> None:
        image.data = self._image.data


NEAR_M, FAR_M = (10 * grey / 255 + 1 for grey in (Ramp.NEAR, Ramp.FAR))


def cloud_of(scene: Scene) -> np.ndarray:
    """(N,3) points of one set of such pictures."""
    scene.quiet()
    stamp = Time(nanoseconds=scene.send(change=Ramp())).to_msg()
    # On a busy machine, what was sent before may still come.
    cloud: PointCloud2 = wait_for(
        lambda: next((c for c in list(scene.clouds) if c.header.stamp == stamp), None), 'a cloud'
    )
    records = np.frombuffer(cloud.data, np.uint8).reshape(-1, cloud.point_step)
    return records[:, :12].copy().view(np.float32)


@pytest.mark.parametrize(
    ('name', 'value', 'keeps'),
    [
        ('cloud.min_range', 5.0, lambda xyz: xyz[:, 0] >= 5),
        ('cloud.max_range', 5.0, lambda xyz: xyz[:, 0] <= 5),
        ('cloud.min_height', 1.0, lambda xyz: xyz[:, 2] >= 1),
        ('cloud.max_height', 1.0, lambda xyz: xyz[:, 2] <= 1),
        ('cloud.min_confidence', 0.74, lambda xyz: xyz[:, 2] < 1e9),
        ('cloud.min_confidence', 0.76, lambda xyz: xyz[:, 2] > 1e9),
    ],
)
def test_a_filter_of_the_cloud_is_live(tuned: Scene, name: str, value: float, keeps: Any) -> None:
    before = cloud_of(tuned)
    assert len(before) == 2 * 80 * 48
    # Pixels between the halves lie between them.
    assert before[:, 0].min() == pytest.approx(NEAR_M, abs=0.01)
    assert before[:, 0].max() == pytest.approx(FAR_M, abs=0.01)
    assert set_to(tuned, name, value) == ''
    after = cloud_of(tuned)
    assert set_to(tuned, name, TUNED.get(name, parameters.BY_NAME[name].default)) == ''
    np.testing.assert_allclose(after, before[keeps(before)], atol=1e-4)
    assert len(cloud_of(tuned)) == len(before)


def test_stride_and_voxels_thin_the_cloud(tuned: Scene) -> None:
    before = cloud_of(tuned)
    assert set_to(tuned, 'cloud.stride', 4) == ''
    assert len(cloud_of(tuned)) == 2 * 20 * 12
    assert set_to(tuned, 'cloud.stride', 1) == ''
    assert set_to(tuned, 'cloud.voxel_size', 0.5) == ''
    thinned = cloud_of(tuned)
    assert set_to(tuned, 'cloud.voxel_size', 0.0) == ''
    voxels = {tuple(cell) for cell in np.floor(before * np.float32(2)).astype(int).tolist()}
    assert len(thinned) == len(voxels) < len(before) / 4
    assert {tuple(cell) for cell in np.floor(thinned * np.float32(2)).astype(int).tolist()} == voxels


def late(name: str, image: Any, info: Any) -> None:
    """The right camera is exposed 30 ms after the left one."""
    if name == 'right':
        stamp_ns = Time.from_msg(info.header.stamp).nanoseconds + 30 * MS
        image.header.stamp = info.header.stamp = Time(nanoseconds=stamp_ns).to_msg()


def send_slowly(scene: Scene, **send: Any) -> None:
    """Send one second of sets, and forget those that were under way before."""
    scene.quiet()
    for _ in range(10):
        scene.send(**send)
        time.sleep(0.1)


def test_the_slop_is_live(tuned: Scene) -> None:
    assert set_to(tuned, 'sync.missing_after', 0.0) == ''  # complete sets alone
    # Less than half of the time between two sets, so that nothing has to be learned.
    assert set_to(tuned, 'sync.slop', 0.04) == ''
    send_slowly(tuned, change=late)
    wait_for(lambda: len(tuned.clouds) > 3, 'clouds')
    assert set_to(tuned, 'sync.slop', 0.01) == ''
    send_slowly(tuned, change=late)
    send_slowly(tuned, change=late)
    assert not tuned.clouds
    assert set_to(tuned, 'sync.slop', 0.05) == ''
    send_slowly(tuned, change=late)
    send_slowly(tuned, change=late)
    wait_for(lambda: len(tuned.clouds) > 3, 'clouds')
    assert set_to(tuned, 'sync.missing_after', TUNED['sync.missing_after']) == ''


def test_the_fewest_cameras_of_a_set_are_live(tuned: Scene) -> None:
    tuned.quiet()
    tuned.until(lambda: tuned.depths['left'], 'depth of one camera alone', names=['left'])
    assert set_to(tuned, 'sync.min_cameras', 2) == ''
    send_slowly(tuned, names=['left'])
    send_slowly(tuned, names=['left'])
    assert not tuned.clouds
    assert set_to(tuned, 'sync.min_cameras', 0) == ''
    tuned.until(lambda: tuned.clouds, 'a cloud of one camera alone', names=['left'])
    tuned.until(lambda: all(tuned.depths.values()), 'depth of both')


def test_the_longest_gap_is_live(tuned: Scene) -> None:
    def wiped() -> int:
        tuned.bench.diagnostics.clear()
        return int(wait_for(lambda: tuned.values('engine'), 'diagnostics').get('memory reset: gap in time', 0))

    assert set_to(tuned, 'temporal.max_gap', 0.01) == ''
    before = wiped()
    send_slowly(tuned)
    tuned.quiet()
    assert wiped() >= before + 5
    assert set_to(tuned, 'temporal.max_gap', 60.0) == ''
    send_slowly(tuned)
    before = wiped()
    send_slowly(tuned)
    assert wiped() == before
    assert set_to(tuned, 'temporal.max_gap', 0.5) == ''


def test_how_often_a_warning_repeats_is_live(tuned: Scene) -> None:
    def unknown(name: str, image: Any, info: Any) -> None:
        if name == 'left':
            image.encoding = 'secret'

    warning = "camera left (frame tuned_left_optical): image rejected: encoding 'secret' is not supported"
    assert set_to(tuned, 'diagnostics.log_period', 3600.0) == ''
    send_slowly(tuned, change=unknown)
    send_slowly(tuned, change=unknown)
    tuned.quiet()
    assert tuned.process.log().count(warning) == 1
    assert set_to(tuned, 'diagnostics.log_period', 0.0) == ''
    send_slowly(tuned, change=unknown)
    tuned.quiet()
    assert tuned.process.log().count(warning) >= 8
    assert set_to(tuned, 'diagnostics.log_period', 5.0) == ''


def test_how_often_diagnostics_come_is_live(tuned: Scene) -> None:
    def in_two_seconds() -> int:
        tuned.bench.diagnostics.clear()
        time.sleep(2)
        mine = [m for m in tuned.bench.diagnostics if m.status[0].hardware_id == tuned.node_name]
        return len(mine)

    assert set_to(tuned, 'diagnostics.period', 1.0) == ''
    assert 1 <= in_two_seconds() <= 3
    assert set_to(tuned, 'diagnostics.period', 0.1) == ''
    assert in_two_seconds() >= 8
    assert set_to(tuned, 'diagnostics.period', OFTEN['diagnostics.period']) == ''
