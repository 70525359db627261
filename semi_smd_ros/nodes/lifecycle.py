# SPDX-License-Identifier: Apache-2.0
"""The lifecycle node: wires transitions, parameters and services to a session."""

from __future__ import annotations

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
from .session import Session
from .throttle import ThrottledLogger

SUCCESS, FAILURE, FAULT = (
    TransitionCallbackReturn.SUCCESS,
    TransitionCallbackReturn.FAILURE,
    TransitionCallbackReturn.ERROR,
)


class SurroundDepthNode(LifecycleNode):
    """Metric depth of N cameras. Callbacks only sort messages; one worker thread does the work."""

    def __init__(self, **options: Any) -> None:
        super().__init__('surround_depth', **options)
        self._log = ThrottledLogger(self.get_logger())
        self._problem = ''
        self._session: Session | None = None
        self._values: dict[str, Any] = {}
        self._timer: Any = None
        # The callback sees declared values too, so that bad initial values are refused like later ones.
        self.add_on_set_parameters_callback(self._on_parameters)
        parameters.declare(self)
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
        return self._transition('activate', partial(super().on_activate, state), self._need_session().activate)

    def on_deactivate(self, state: Any) -> TransitionCallbackReturn:
        """Stop output and wipe the temporal memory."""
        return self._transition('deactivate', self._need_session().deactivate, partial(super().on_deactivate, state))

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
        except (RigError, ModelError) as error:
            self._problem = f'cannot {name}: {error}'
            self._release()
            verdict = FAILURE
        # Whatever it is, its reason is logged here or nowhere.
        except Exception as error:  # noqa: BLE001
            self._problem = f'cannot {name}: {type(error).__name__}: {error}'
            verdict = FAULT
        self.get_logger().error(self._problem)
        return verdict

    def _configure(self) -> None:
        self._session = Session(self, parameters.values(self), self._log)

    def _need_session(self) -> Session:
        if self._session is None:
            raise RuntimeError('the node has no engine; expected it to be configured')
        return self._session

    def _release(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()

    # Callbacks.

    def _on_parameters(self, changes: list[Any]) -> SetParametersResult:
        reason = parameters.refusal(changes, self._values, is_configured=self._session is not None)
        if reason:
            return SetParametersResult(successful=False, reason=reason)
        self._values.update({change.name: change.value for change in changes if change.name in parameters.BY_NAME})
        if self._session is not None:
            self._session.pipeline.config = parameters.pipeline_config(self._values)
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

    def _publish_diagnostics(self) -> None:
        statuses = [diagnostics.node_status(self.state, self._problem)]
        now = self.get_clock().now()
        if self._session is not None:
            statuses += self._session.statuses(now.nanoseconds)
        self._diagnostics.publish(diagnostics.array_of(statuses, now.to_msg(), self.get_fully_qualified_name()))

    def destroy_node(self) -> None:
        """Stop the worker before the node goes."""
        self._release()
        super().destroy_node()
