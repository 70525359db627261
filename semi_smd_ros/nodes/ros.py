# SPDX-License-Identifier: Apache-2.0
"""The one place that chooses between ROS packages and their stand-ins in `backports/`.

The original is taken wherever it works. A stand-in serves where the original is not installed, or where it is
installed but broken: then `report` says so in plain words, since a broken installation should be mended.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from sensor_msgs.msg import Image

try:
    from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
except ImportError:  # Humble keeps them elsewhere
    from rclpy.qos_event import SubscriptionEventCallbacks, UnsupportedEventTypeError


@dataclass(frozen=True)
class Source:
    """Where a module comes from: `origin` is 'ros' or 'backport'; `problem` tells why an original is unusable."""

    origin: str
    problem: str = ''


SOURCES: dict[str, Source] = {}


def choose(name: str, check: Callable[[ModuleType], Any]) -> ModuleType:
    """Import `name`, or its stand-in when it isn't installed or fails `check`; notes the choice in SOURCES."""
    problem = ''
    if importlib.util.find_spec(name) is not None:
        try:
            module = importlib.import_module(name)
            check(module)
        # Compiled extensions fail in every way there is (a NumPy ABI mismatch alone raises ImportError,
        # AttributeError or SystemError), and none of them may take the vehicle's node down.
        except Exception as error:  # noqa: BLE001
            problem = f'{type(error).__name__}: {error}'
        else:
            SOURCES[name] = Source('ros')
            return module
    SOURCES[name] = Source('backport', problem)
    return importlib.import_module(f'{__package__}.backports.{name}')


def check_cv_bridge(module: ModuleType) -> None:
    """Convert one pixel each way; raises what a broken cv_bridge raises.

    Packages built against NumPy 1 import well and fail at the first picture, and OpenCV 5 moved the type codes.
    """
    bridge = module.CvBridge()
    message = Image(height=1, width=1, encoding='bgr8', step=3, data=[1, 2, 3])
    pixels = bridge.imgmsg_to_cv2(message, desired_encoding='passthrough')
    if pixels.shape != (1, 1, 3) or pixels.ravel().tolist() != [1, 2, 3]:
        raise RuntimeError(f'one bgr8 pixel came back as {pixels.tolist()}; expected [[[1, 2, 3]]]')


def report(logger: Any) -> None:
    """Log which modules are in use: one line, and one warning for every original that is broken."""
    logger.info(', '.join(f'{name} from {source.origin}' for name, source in SOURCES.items()))
    for name, source in SOURCES.items():
        if source.problem:
            logger.warning(
                f'{name} is installed but does not work, our own stand-in serves instead. It says: {source.problem}. '
                + (
                    "Often it was built against another NumPy or OpenCV: install 'numpy<2' and 'opencv-python<5', "
                    'or reinstall the ROS package.'
                    if name == 'cv_bridge'
                    else 'Reinstall the ROS package.'
                )
            )


message_filters: Any = choose('message_filters', lambda module: module.Subscriber)
tf2_ros: Any = choose('tf2_ros', lambda module: (module.Buffer, module.TransformListener))
cv_bridge: Any = choose('cv_bridge', check_cv_bridge)

__all__ = [
    'SOURCES',
    'Source',
    'SubscriptionEventCallbacks',
    'UnsupportedEventTypeError',
    'choose',
    'cv_bridge',
    'message_filters',
    'report',
    'tf2_ros',
]
