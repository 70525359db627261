# SPDX-License-Identifier: Apache-2.0
"""The program `surround_depth_node`: runs the node until SIGINT or SIGTERM."""

from __future__ import annotations

import signal
import sys
import threading


def main(args: list[str] | None = None) -> int:
    """Run the node; returns the exit code: 0 after a signal, 1 when it cannot start (the reason is on stderr)."""
    stopping = threading.Event()
    # Our own handlers, first of all: rclpy's would shut the context down under the worker's feet, and a signal
    # during the imports below would end in a traceback.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: stopping.set())

    import rclpy
    from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
    from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions

    from .lifecycle import SurroundDepthNode

    if stopping.is_set():
        return 0
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        node = SurroundDepthNode()
    # rclpy raises RuntimeErrors for parameter files and arguments that it cannot read.
    except (InvalidParameterTypeException, InvalidParameterValueException, RuntimeError) as error:
        sys.stderr.write(f'surround_depth cannot start: {error}\n')
        rclpy.try_shutdown()
        return 1
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        while not stopping.is_set():
            executor.spin_once(timeout_sec=0.1)
    except ExternalShutdownException:  # whoever owns the context has ended it
        pass
    executor.shutdown()
    node.destroy_node()
    rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
