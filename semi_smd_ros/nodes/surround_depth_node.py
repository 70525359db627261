# SPDX-License-Identifier: Apache-2.0
"""The program `surround_depth_node`: runs the node until SIGINT or SIGTERM."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time

from .allocator import keep_freed_memory

# Seconds from a signal to the end. Who stops a vehicle's processes kills those that take longer.
LEAVE_WITHIN_S = 1.7


def leave_in_time() -> None:
    """From the first signal on, end the process with 0 after a while, whatever an engine or a driver is stuck in."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    # Written by the C handler: Python's own handlers run only once the main thread is back from its library call.
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def wait() -> None:
        os.read(reading, 1)
        time.sleep(LEAVE_WITHIN_S)
        # Whoever read this may have gone first.
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write('surround_depth is still busy and leaves without waiting for it\n')
            sys.stderr.flush()
        os._exit(0)

    threading.Thread(target=wait, name='surround_depth_leave', daemon=True).start()


def main(args: list[str] | None = None) -> int:
    """Run the node; returns the exit code: 0 after a signal, 1 when it cannot start (the reason is on stderr)."""
    stopping = threading.Event()
    # Our own handlers, first of all: rclpy's would shut the context down under the worker's feet, and a signal
    # during the imports below would end in a traceback.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: stopping.set())
    keep_freed_memory()
    leave_in_time()

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
    while not stopping.is_set():
        try:
            executor.spin_once(timeout_sec=0.1)
        except ExternalShutdownException:  # whoever owns the context has ended it
            break
        # One message that nobody thought of must not take the vehicle's depth away.
        except Exception as error:  # noqa: BLE001
            node.report(error)
    executor.shutdown()
    node.destroy_node()
    rclpy.try_shutdown()
    # Python takes its handlers back while it ends; an impatient second signal would then be the exit code.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    return 0


if __name__ == '__main__':
    sys.exit(main())
