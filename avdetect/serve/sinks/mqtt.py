"""Reports to an MQTT broker; feeds and classes as sensors, in Home Assistant too."""

from __future__ import annotations

import json
import logging
import math
import socket
import ssl
import sys
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from avdetect.errors import UsageError
from avdetect.serve.sinks.base import Delivery, DeliveryError
from avdetect.serve.sinks.mqtt_topics import OFF, OFFLINE, ON, ONLINE, Topics
from avdetect.serve.sinks.settings import MqttSettings

__all__ = ["MqttSink"]

_LOG = logging.getLogger(__name__)
_QOS = 1
_MIN_RECONNECT_S = 1
_MAX_RECONNECT_S = 10
_LOG_INTERVAL_S = 60.0
"""Between two lines of the log that say that the connection is lost."""
_FAREWELL_S = 2.0
"""How long to wait for the broker's acknowledgement of our going."""


class MqttSink:
    """One connection, kept up by a thread of paho's. A report counts as delivered when the broker acknowledges it.

    What the broker retains (``Topics``) tells the present: a report that a later one has overtaken while the broker was
    away goes to the topic of events, but does not switch a sensor on again. Topics of feeds and classes that are no
    more are cleared, also those of an earlier run.
    """

    def __init__(self, name: str, settings: MqttSettings) -> None:
        """Read the credentials.

        Raises:
            UsageError: the password or a certificate is missing or cannot be used.
        """
        self.name = name
        self._settings = settings
        self._topics = Topics(settings.prefix, settings.discovery_prefix)
        # Taken by the callbacks of paho's thread too, which holds locks of paho's meanwhile: never publish under it.
        self._changed = threading.Condition()
        self._connected = False
        self._closed = False
        self._trouble = "not connected yet"
        self._loss_logged_s = -math.inf
        self._acknowledged: set[int] = set()
        self._sent_seq = -1
        self._sent_number = 0
        # What is retained is published under this, so that the newest state is published last.
        self._state_lock = threading.RLock()
        self._feeds: dict[str, tuple[str, ...]] | None = None
        self._online: dict[str, bool] = {}
        self._states: dict[tuple[str, str], bool] = {}
        self._client = self._make_client()

    def open(self) -> None:
        """Begin to connect; that goes on in the background until it succeeds."""
        self._client.connect_async(self._settings.host, self._settings.chosen_port, self._settings.keepalive_s)
        self._client.loop_start()

    def deliver(self, delivery: Delivery) -> None:
        """Publish a report and wait for the broker.

        Raises:
            DeliveryError: the broker is not there, or did not acknowledge in time.
        """
        timeout_s = self._settings.timeout_s
        with self._changed:
            if not self._changed.wait_for(lambda: self._connected or self._closed, timeout_s) or self._closed:
                raise self._unreachable()
        if delivery.seq != self._sent_seq:  # else it lies in paho's queue since the last attempt
            with self._changed:
                self._acknowledged.clear()
            self._sent_number = self._publish_report(delivery)
            self._sent_seq = delivery.seq
        with self._changed:
            if not self._changed.wait_for(self._is_settled, timeout_s):
                raise DeliveryError(f"{self._settings.host} has not acknowledged for {timeout_s:g} s", retry_after_s=0)
            if self._sent_number not in self._acknowledged:
                raise self._unreachable()

    def announce(self, feeds: Mapping[str, Sequence[str]], active: Collection[tuple[str, str]]) -> None:
        """Make the sensors of these feeds and their classes, and of no others; those that are ``active`` are on."""
        with self._state_lock:
            self._feeds = {feed: tuple(labels) for feed, labels in feeds.items()}
            self._online = {feed: self._online.get(feed, False) for feed in feeds}
            self._states = {
                (feed, label): self._states.get((feed, label), (feed, label) in active)
                for feed, labels in feeds.items()
                for label in labels
            }
        if self._connected:
            self._look_around()

    def status(self, feed: str, online: bool) -> None:
        """Say whether a feed is seen at present."""
        with self._state_lock:
            self._online[feed] = online
            if self._connected:
                self._retain(self._topics.feed_availability(feed), ONLINE if online else OFFLINE)

    def close(self) -> None:
        """Say that we go, and go."""
        farewell = self._retain(self._topics.availability, OFFLINE) if self._connected else None
        with self._changed:
            if farewell is not None:
                self._changed.wait_for(lambda: farewell in self._acknowledged, _FAREWELL_S)
            self._closed = True
            self._changed.notify_all()
        self._client.disconnect()
        self._client.loop_stop()

    def _make_client(self) -> Client:
        settings = self._settings
        client = Client(CallbackAPIVersion.VERSION2, client_id=settings.client_id or "")
        client.connect_timeout = settings.timeout_s
        client.reconnect_delay_set(_MIN_RECONNECT_S, _MAX_RECONNECT_S)
        client.max_inflight_messages_set(0)  # no limit: with one, what is sent again may overtake what waits
        client.will_set(self._topics.availability, OFFLINE, _QOS, retain=True)
        if settings.username is not None:
            client.username_pw_set(settings.username, settings.password.reveal() if settings.password else None)
        if settings.tls is not None:
            try:
                client.tls_set(
                    ca_certs=None if settings.tls.ca is None else str(settings.tls.ca),
                    certfile=None if settings.tls.cert is None else str(settings.tls.cert),
                    keyfile=None if settings.tls.key is None else str(settings.tls.key),
                )
            except (OSError, ssl.SSLError) as error:
                raise UsageError(f"sink {self.name}: its certificates or key cannot be read ({error}).") from error
            client.tls_insecure_set(settings.tls.insecure)
        client.on_socket_open = _send_at_once
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        return client

    def _publish_report(self, delivery: Delivery) -> int:
        """Returns the number of the message that the broker has to acknowledge.

        What is retained follows on its heels, and is not waited for: should we die before it is sent, ``announce`` of
        the next run sets it right.
        """
        document = json.dumps(delivery.document())
        if delivery.kind == "gap":
            return self._publish(self._topics.gaps, document)
        number = self._publish(self._topics.events, document)
        feed, label = delivery.payload["feed"], delivery.payload["class"]
        with self._state_lock:
            wanted = self._feeds is None or label in self._feeds.get(feed, ())
            if wanted and not delivery.superseded:
                self._retain(self._topics.last_event(feed, label), document)
                if delivery.kind == "event":
                    self._states[feed, label] = delivery.payload["stage"] != "closed"
                    self._publish_state(feed, label)
        return number

    def _is_settled(self) -> bool:
        return self._sent_number in self._acknowledged or self._closed

    def _look_around(self) -> None:
        """Ask for what the broker has retained below our topics: see ``_on_subscribe``, ``_on_message``."""
        self._client.subscribe([(pattern, _QOS) for pattern in self._topics.retained_filters()])

    def _publish_present(self) -> None:
        """All that is retained."""
        self._retain(self._topics.availability, ONLINE)
        for feed, online in self._online.items():
            self._retain(self._topics.feed_availability(feed), ONLINE if online else OFFLINE)
        for feed, label in self._states:
            self._publish_state(feed, label)
        if self._settings.home_assistant:
            for feed, labels in (self._feeds or {}).items():
                for label in labels:
                    self._retain(self._topics.discovery(feed, label), self._topics.sensor(feed, label))

    def _publish_state(self, feed: str, label: str) -> None:
        self._retain(self._topics.state(feed, label), ON if self._states[feed, label] else OFF)

    def _retain(self, topic: str, text: str) -> int:
        return self._publish(topic, text, retain=True)

    def _publish(self, topic: str, text: str, *, retain: bool = False) -> int:
        """Hand a message to paho, which sends it once more after a reconnection if it was not acknowledged."""
        message = self._client.publish(topic, text, _QOS, retain)
        if message.rc not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN):
            raise DeliveryError(f"the message cannot be sent: {message.rc.name}")
        return message.mid

    def _unreachable(self) -> DeliveryError:
        # paho has a backoff of its own.
        return DeliveryError(f"{self._settings.host}:{self._settings.chosen_port}: {self._trouble}", retry_after_s=0)

    # Called by paho's thread.

    def _on_connect(
        self, client: Client, userdata: Any, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self._set_connected(False, f"the broker refuses us: {reason}")
        else:
            self._look_around()

    def _on_subscribe(
        self, client: Client, userdata: Any, number: int, reasons: list[ReasonCode], properties: Properties | None
    ) -> None:
        """Only now, not in ``_on_connect``: paho has sent again what was not acknowledged, and that is older.

        A broker that refuses the subscriptions says so here too. Then topics of former feeds stay.
        """
        with self._state_lock:
            self._publish_present()
            self._set_connected(True, "")

    def _on_connect_fail(self, client: Client, userdata: Any) -> None:
        self._set_connected(False, str(sys.exc_info()[1] or "no connection"))

    def _on_disconnect(
        self, client: Client, userdata: Any, flags: DisconnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure and not self._trouble:
            self._set_connected(False, f"connection lost: {reason}")
        else:
            self._set_connected(False, self._trouble)

    def _on_publish(
        self, client: Client, userdata: Any, number: int, reason: ReasonCode, properties: Properties | None
    ) -> None:
        with self._changed:
            self._acknowledged.add(number)
            self._changed.notify_all()

    def _on_message(self, client: Client, userdata: Any, message: MQTTMessage) -> None:
        """Something retained below our topics: cleared if it belongs to a feed or class that is no more."""
        with self._state_lock:
            if self._feeds is None or not message.retain:
                return
            if message.topic not in self._topics.retained(self._feeds, discovery=self._settings.home_assistant):
                self._retain(message.topic, "")

    def _set_connected(self, connected: bool, trouble: str) -> None:
        with self._changed:
            lost = self._connected and not connected and not self._closed
            now_s = time.monotonic()
            if lost and now_s - self._loss_logged_s >= _LOG_INTERVAL_S:
                self._loss_logged_s = now_s
                _LOG.warning("sink %s: %s", self.name, trouble)
            self._connected, self._trouble = connected, trouble
            self._changed.notify_all()


def _send_at_once(client: Client, userdata: Any, connection: Any) -> None:
    """A small message does not wait for the broker's TCP to acknowledge the one before: that takes 40 ms."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
