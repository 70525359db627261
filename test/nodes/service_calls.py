# SPDX-License-Identifier: Apache-2.0
"""Calls of a node's services whose answers may be lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from lifecycle_msgs.srv import ChangeState, GetState

TIMEOUT_S = 15.0
CALLS = 3  # within that time
TRANSITIONS = {
    'configure': (1, 'inactive'),
    'cleanup': (2, 'unconfigured'),
    'activate': (3, 'active'),
    'deactivate': (4, 'inactive'),
}


def call(node: Any, service_type: Any, name: str, request: Any, done: Callable[[], Any] = lambda: None) -> Any:
    """Call a service and wait for the answer; `node` is spun by another thread.

    A server drops its answer where it has not yet discovered the reader of a new client, which happens on a busy
    machine. So an answer that does not come is asked for again, unless `done()` knows it by other means.
    """
    client = node.create_client(service_type, name)
    try:
        assert client.wait_for_service(timeout_sec=TIMEOUT_S), f'no service {name}'
        for _ in range(CALLS):
            future = client.call_async(request)
            deadline = time.monotonic() + TIMEOUT_S / CALLS
            while time.monotonic() < deadline:
                if future.done():
                    return future.result()
                time.sleep(0.005)
            client.remove_pending_request(future)
            if (result := done()) is not None:
                return result
    finally:
        node.destroy_client(client)
    raise AssertionError(f'no answer of {name}')


def state(node: Any, node_name: str) -> str:
    """The label of a lifecycle node's state."""
    return str(call(node, GetState, f'{node_name}/get_state', GetState.Request()).current_state.label)


def transition(node: Any, node_name: str, name: str) -> bool:
    """Ask a lifecycle node for a transition; returns whether it succeeded."""
    request = ChangeState.Request()
    request.transition.id, goal = TRANSITIONS[name]

    before = state(node, node_name)

    def arrived() -> ChangeState.Response | None:
        return ChangeState.Response(success=True) if state(node, node_name) == goal != before else None

    return bool(call(node, ChangeState, f'{node_name}/change_state', request, arrived).success)
