# SPDX-License-Identifier: Apache-2.0
"""The lifecycle node: wires transitions, parameters and services to a session."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from std_srvs.srv import Trigger

from ..rig import RigError
from ..runtime import ModelError
from . import diagnostics, parameters, ros
from .allocator import give_back
from .session import Session
from .throttle import ThrottledLogger

SUCCESS, FAILURE, FAULT = (
    TransitionCallbackReturn.SUCCESS,
    TransitionCallbackReturn.FAILURE,
    TransitionCallbackReturn.ERROR,
)


class _EngineFault(Exception):
    """The engine has failed for good."""


class SurroundDepthNode(LifecycleNode):
    """Metric depth of N cameras. Callbacks only sort messages; one worker thread does the work."""

    def __init__(self, **options: Any) -> None:
        super().__init__('surround_depth', **options)
        self._log = ThrottledLogger(self.get_logger())
        self._problem = ''
        self._session: Session | None = None
        self._values: dict[str, Any] = {}
        self._timer: Any = None
        self._fault = ''
        self._clock_seen = (-1, time.monotonic())
        # Wakes the executor from the worker's thread.
        self._fault_signal = self.create_guard_condition(self._on_fault)
        # The callback sees declared values too, so that bad initial values are refused like later ones.
        self.add_on_set_parameters_callback(self._on_parameters)
        parameters.declare(self)
        self._declare_ego_masks()
        ros.report(self.get_logger())
        self.create_service(Trigger, '~/reset', self._on_reset)
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        # Wall time: diagnostics must speak up exactly when nobody publishes /clock.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self.create_timer(self._values['diagnostics.period'], self._publish_diagnostics, clock=steady)
        if self._values['autostart']:
            self._autostart = self.create_timer(0.0, self._start, clock=steady)

    @property
    def state(self) -> str:
        """The lifecycle state's label, such as 'active'."""
        return str(self._state_machine.current_state[1])

    def _start(self) -> None:
        self._autostart.cancel()
        if self.trigger_configure() == SUCCESS:
            self.trigger_activate()

    # Transitions. rclpy swallows what they raise, so each says its reason itself.

    def on_configure(self, state: Any) -> TransitionCallbackReturn:
        """Load and warm up the engine, create the publishers."""
        return self._transition('configure', self._configure, partial(super().on_configure, state))

    def on_activate(self, state: Any) -> TransitionCallbackReturn:
        """Subscribe and start working."""
        # Publishers first: the worker may publish as soon as it runs.
        enable = partial(super().on_activate, state)
        self._fault = ''  # of the set that was finished while deactivating
        return self._transition('activate', enable, lambda: self._need_session().activate())

    def on_deactivate(self, state: Any) -> TransitionCallbackReturn:
        """Stop output and wipe the temporal memory."""
        disable = partial(super().on_deactivate, state)
        return self._transition('deactivate', self._raise_fault, lambda: self._need_session().deactivate(), disable)

    def on_cleanup(self, state: Any) -> TransitionCallbackReturn:
        """Free the engine and the publishers."""
        return self._transition('clean up', self._release, partial(super().on_cleanup, state))

    def on_shutdown(self, state: Any) -> TransitionCallbackReturn:
        """Stop and free everything."""
        return self._transition('shut down', self._release, partial(super().on_shutdown, state))

    def on_error(self, state: Any) -> TransitionCallbackReturn:
        """Free everything; the node is then unconfigured, keeps the reason, and can be configured again."""
        try:
            self._release()
        except Exception as error:  # noqa: BLE001
            self.get_logger().error(f'cannot recover: {type(error).__name__}: {error}')
            return FAILURE
        return SUCCESS

    def _transition(self, name: str, *steps: Callable[[], TransitionCallbackReturn | None]) -> TransitionCallbackReturn:
        self._problem = ''
        try:
            for step in steps:
                result = step()
                if result is not None and result != SUCCESS:
                    raise RuntimeError(f'{step} gave {result}')
            return SUCCESS
        except _EngineFault as error:
            self._problem = str(error)
            verdict = FAULT
        # Whatever it is, its reason is logged here or nowhere.
        except Exception as error:  # noqa: BLE001
            expected = isinstance(error, (RigError, ModelError))
            self._problem = f'cannot {name}: {error}' if expected else f'cannot {name}: {type(error).__name__}: {error}'
            # A rig or a model that does not fit is a mistake to mend; the node stays unconfigured and sound.
            verdict = FAILURE if expected and name == 'configure' else FAULT
        self.get_logger().error(self._problem)
        return verdict

    def _configure(self) -> None:
        self._fault = ''
        self._session = Session(self, dict(self._values), self._log, self._report_fault)

    def _need_session(self) -> Session:
        if self._session is None:
            raise RuntimeError('the node has no engine; expected it to be configured')
        return self._session

    def _release(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()
            del session
            # Models are large and callbacks hold on to each other: what is freed is free now, not some time later.
            gc.collect()
            give_back()

    # An engine that fails for good. The lifecycle has no way from active to error processing but through a transition
    # that goes wrong, so deactivating is what goes wrong.

    def _report_fault(self, reason: str) -> None:
        # The first is what the operator is told, whatever fails until the executor gets round to it.
        self._fault = self._fault or reason
        self._fault_signal.trigger()

    def _on_fault(self) -> None:
        if self._fault and self.state == 'active':
            self.trigger_deactivate()

    def _raise_fault(self) -> None:
        fault, self._fault = self._fault, ''
        if fault:
            raise _EngineFault(fault)

    # Callbacks.

    def _on_parameters(self, changes: list[Any]) -> SetParametersResult:
        reason = parameters.refusal(changes, self._values, is_configured=self._session is not None)
        if reason:
            return SetParametersResult(successful=False, reason=reason)
        self._values.update({change.name: change.value for change in changes if parameters.is_ours(change.name)})
        if self._session is not None:
            self._session.apply(dict(self._values))
        if 'diagnostics.log_period' in self._values:
            self._log.period_s = self._values['diagnostics.log_period']
        if self._timer is not None:
            self._timer.timer_period_ns = int(self._values['diagnostics.period'] * 1e9)
        return SetParametersResult(successful=True)

    def _on_reset(self, request: Any, response: Any) -> Any:
        if self._session is None or self._session.processor is None:
            response.success = False
            response.message = f'the node is {self.state}; expected active: its memory is empty'
        else:
            self._session.processor.request_reset('reset service')
            response.success, response.message = True, 'the memory is wiped before the next set'
        return response

    def _declare_ego_masks(self) -> None:
        try:
            cameras, _ = parameters.rig_config(self._values)
        except RigError:  # configuring says so, and declares them once the rig is mended
            return
        parameters.declare_ego_masks(self, [camera.name for camera in cameras])

    def _clock_stands_s(self, now_ns: int) -> float:
        """Seconds since the clock of the node advanced: 0 but where /clock has stopped."""
        if self._clock_seen[0] != now_ns:
            self._clock_seen = (now_ns, time.monotonic())
        return time.monotonic() - self._clock_seen[1]

    def _publish_diagnostics(self) -> None:
        now = self.get_clock().now()
        statuses = [diagnostics.node_status(self.state, self._problem, self._clock_stands_s(now.nanoseconds))]
        if self._session is not None:
            statuses += self._session.statuses(now.nanoseconds)
        self._diagnostics.publish(diagnostics.array_of(statuses, now.to_msg(), self.get_fully_qualified_name()))

    def publish_progress(self, text: str) -> None:
        """Say on /diagnostics what takes so long while the node is being configured; for any thread."""
        statuses = [diagnostics.configuring_status(text)]
        now = self.get_clock().now().to_msg()
        self._diagnostics.publish(diagnostics.array_of(statuses, now, self.get_fully_qualified_name()))

    def report(self, error: Exception) -> None:
        """Log what a callback has raised; the node goes on."""
        self._log.error(('callback', type(error).__name__), f'a callback failed: {type(error).__name__}: {error}')

    def destroy_node(self) -> None:
        """Stop the worker before the node goes."""
        self._release()
        super().destroy_node()
