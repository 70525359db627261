# SPDX-License-Identifier: Apache-2.0
"""A subscription that listens as reliably as its publishers allow."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.qos import HistoryPolicy, QoSPolicyKind, QoSProfile, ReliabilityPolicy, qos_policy_name_from_kind
from rclpy.qos_overriding_options import QoSOverridingOptions

from .compatibility import incompatible_publishers, publishers_of_best_effort
from .ros import SubscriptionEventCallbacks, UnsupportedEventTypeError, message_filters

INPUT_DEPTH = 5
LOOK_EVERY_S = 0.5
RELIABLE, BEST_EFFORT = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT
RELIABILITIES = ('auto', 'reliable', 'best_effort')


class EventSubscriber(message_filters.SimpleFilter):
    """`message_filters.Subscriber` with events and QoS overrides, which some releases of the original refuse."""

    def __init__(self, node: Any, message_type: Any, topic: str, **options: Any) -> None:
        super().__init__()
        self.sub = node.create_subscription(message_type, topic, self.signalMessage, **options)


class InputSubscription:
    """One topic of a camera. `topic` is its full name, `incompatible` the QoS policy that a publisher there offers and
    we cannot take ('' while all is well).

    `reliability` is 'reliable', 'best_effort' or 'auto', and the parameter
    `qos_overrides.<topic>.subscription.reliability` wins over it. 'auto' is reliable until a publisher is there that
    offers no more than best effort, and again once none is: `refresh`, called often in the node's executor, then
    subscribes anew and tells `on_change(sentence)`. `on_lost(count)` is told what the middleware lost.
    """

    def __init__(
        self,
        node: Any,
        message_type: Any,
        topic: str,
        reliability: str,
        on_message: Callable[[Any], None],
        on_change: Callable[[str], None],
        on_lost: Callable[[int], None] | None = None,
    ) -> None:
        self.topic = str(node.resolve_topic_name(topic))
        self.incompatible = ''
        self._node = node
        self._name = topic  # remapped where it is subscribed to
        self._message_type = message_type
        self._on_message = on_message
        self._on_change = on_change
        self._on_lost = on_lost
        self._is_deaf = False
        self._look_at = 0.0
        wanted = self._override(reliability)
        self._is_adaptive = wanted == 'auto'
        self._subscriber: EventSubscriber | None = None
        self._subscribe(BEST_EFFORT if wanted == 'best_effort' else RELIABLE)
        self.refresh()

    @property
    def reliability(self) -> str:
        """How it listens now: 'reliable' or 'best_effort', and who decided that where it was not a parameter."""
        name = str(self.qos.reliability.name).lower()
        if not self._is_adaptive:
            return name
        lazy = publishers_of_best_effort(self._node, self.topic)
        return f'{name} (auto: node {", ".join(lazy)} offers no more)' if lazy else f'{name} (auto)'

    def refresh(self) -> None:
        """Subscribe anew where the publishers' reliability has changed."""
        now = time.monotonic()
        if not self._is_adaptive or not (self._is_deaf or now >= self._look_at):
            return
        self._look_at = now + LOOK_EVERY_S
        is_deaf, self._is_deaf = self._is_deaf, False
        if is_deaf or publishers_of_best_effort(self._node, self.topic):
            # Whose it is, is often not known yet; diagnostics will say so.
            self._change(BEST_EFFORT, 'one of its publishers offers no more')
        # While nobody publishes, nothing says that the next one will be another than the last.
        elif self._node.count_publishers(self.topic):
            self._change(RELIABLE, 'all its publishers offer it')

    def complaint(self) -> str:
        """A sentence that names topic, policy and nodes while there are publishers that cannot be heard, or ''.

        Discovery learns of a publisher before it learns whose it is, so this is to be asked again and again rather than
        once when the event comes.
        """
        self.refresh()
        names = incompatible_publishers(self._node, self.topic, self.qos) if self.incompatible else []
        if not names:
            if not self._node.count_publishers(self.topic):
                self.incompatible = ''  # it has gone
            return ''
        return (
            f'node {", ".join(names)} offers an incompatible {self.incompatible} on {self.topic}, so nothing is '
            f'received from it: set image_reliability to auto, or override qos_overrides.{self.topic}.subscription'
        )

    def close(self) -> None:
        """Unsubscribe."""
        if self._subscriber is not None:
            self._node.destroy_subscription(self._subscriber.sub)
            self._subscriber = None

    def _override(self, default: str) -> str:
        """The parameter's value. rclpy's own would not know 'auto', nor let us choose anew."""
        name = f'qos_overrides.{self.topic}.subscription.reliability'
        if not self._node.has_parameter(name):
            text = f'reliability for subscription `{self.topic}`. One of: {", ".join(RELIABILITIES)}.'
            self._node.declare_parameter(name, default, ParameterDescriptor(description=text, read_only=True))
        value = str(self._node.get_parameter(name).value)
        if value not in RELIABILITIES:
            raise ValueError(f'{name} is {value!r}; expected one of {", ".join(RELIABILITIES)}')
        return value

    def _change(self, reliability: ReliabilityPolicy, reason: str) -> None:
        if reliability == self.qos.reliability:
            return
        # First gone, then made: two at once would hear everything twice.
        self.close()
        self._subscribe(reliability)
        how = 'reliably' if reliability == RELIABLE else 'best effort'
        self._on_change(f'{self.topic} is listened to {how}: {reason}')

    def _subscribe(self, reliability: ReliabilityPolicy) -> None:
        self.incompatible = ''
        # The overrides are written into it.
        self.qos = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=INPUT_DEPTH, reliability=reliability)
        events: dict[str, Any] = {'incompatible_qos': self._on_incompatible}
        if self._on_lost is not None:
            events['message_lost'] = self._on_message_lost
        try:
            self._subscriber = self._made(events)
        except UnsupportedEventTypeError:  # not every middleware counts what it loses
            if events.pop('message_lost', None) is None:
                raise
            self._subscriber = self._made(events)
        self._subscriber.registerCallback(self._on_message)

    def _made(self, events: dict[str, Any]) -> EventSubscriber:
        return EventSubscriber(
            self._node,
            self._message_type,
            self._name,
            qos_profile=self.qos,
            qos_overriding_options=QoSOverridingOptions((QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH)),
            event_callbacks=SubscriptionEventCallbacks(**events),
        )

    def _on_message_lost(self, event: Any) -> None:
        if self._on_lost is not None:
            self._on_lost(event.total_count_change)

    def _on_incompatible(self, event: Any) -> None:
        self.incompatible = qos_policy_name_from_kind(event.last_policy_kind)
        # Not here, in a callback of the subscription that would go.
        self._is_deaf = self._is_adaptive and 'RELIABILITY' in self.incompatible
