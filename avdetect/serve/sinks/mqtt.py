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

from avdetect.errors import AvdetectError, UsageError
from avdetect.serve.sinks.base import Delivery, DeliveryError, SetThreshold
from avdetect.serve.sinks.mqtt_claim import Claim
from avdetect.serve.sinks.mqtt_topics import OFF, OFFLINE, ON, ONLINE, Topics
from avdetect.serve.sinks.settings import MqttSettings

__all__ = ["MqttSink"]

_LOG = logging.getLogger(__name__)
_QOS = 1
_MIN_RECONNECT_S = 1
_MAX_RECONNECT_S = 10
_LOG_INTERVAL_S = 60.0
"""Between two lines of the log that say that the connection is lost."""
_LEVEL_INTERVAL_S = 2.0
"""Between two reports of how loud a feed is."""
_FREE_AFTER_S = 3.0
"""The topics of an installation that has been offline for so long can be taken."""
_FAREWELL_S = 2.0
"""How long to wait for the broker's acknowledgement of our going."""


class MqttSink:
    """One connection, kept up by a thread of paho's. A report counts as delivered when the broker acknowledges it.

    What the broker retains (``Topics``) tells the present: a report that a later one has overtaken while the broker was
    away goes to the topic of events, but does not switch a sensor on again. Topics of feeds and classes that are no
    more are cleared, also those of an earlier run. All that only once it is known that no other installation uses them.
    """

    def __init__(self, name: str, settings: MqttSettings, identity: str = "") -> None:
        """Read the credentials.

        Args:
            name: as configured.
            settings: of the broker.
            identity: of this installation.

        Raises:
            UsageError: the password or a certificate is missing or cannot be used.
        """
        self.name = name
        self._settings = settings
        self._identity = identity
        self._topics = Topics(settings.prefix, settings.discovery_prefix, identity)
        self._claim = Claim(self._topics, identity)
        self._claim_timer: threading.Timer | None = None
        self._probe_number = -1
        self._set_threshold: SetThreshold | None = None
        self._level_told_s: dict[str, float] = {}
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
        self._thresholds: dict[tuple[str, str], float] = {}
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
        """Say whether a feed is seen at present; of one that has been taken out nothing is said any more."""
        with self._state_lock:
            if self._feeds is not None and feed not in self._feeds:
                return
            self._online[feed] = online
            if self._connected:
                self._retain(self._topics.feed_availability(feed), ONLINE if online else OFFLINE)

    def level(self, feed: str, dbfs: float) -> None:
        """Say how loud a feed is, every few seconds."""
        now_s = time.monotonic()
        if self._connected and now_s - self._level_told_s.get(feed, -math.inf) >= _LEVEL_INTERVAL_S:
            self._level_told_s[feed] = now_s
            self._client.publish(self._topics.sound_level(feed), f"{dbfs:.1f}", qos=0)

    def thresholds(self, feed: str, values: Mapping[str, float]) -> None:
        """Say from which probability on the classes of a feed are events."""
        with self._state_lock:
            for label, value in values.items():
                self._thresholds[feed, label] = value
                if self._connected and self._is_wanted(feed, label):
                    self._publish_threshold(feed, label)

    def obey(self, set_threshold: SetThreshold) -> None:
        """Take orders through the broker, if the settings say so."""
        if self._settings.control:
            self._set_threshold = set_threshold

    def close(self) -> None:
        """Say that we go, and go."""
        self._stop_waiting()
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
            if self._is_wanted(feed, label) and not delivery.superseded:
                self._retain(self._topics.last_event(feed, label), document)
                if delivery.kind == "event":
                    self._states[feed, label] = delivery.payload["stage"] != "closed"
                    self._publish_state(feed, label)
                    self._publish_any(feed)
        return number

    def _is_wanted(self, feed: str, label: str) -> bool:
        return self._feeds is None or label in self._feeds.get(feed, ())

    def _is_settled(self) -> bool:
        return self._sent_number in self._acknowledged or self._closed

    def _look_around(self) -> None:
        """Ask for what the broker has retained below our topics: see ``_on_subscribe``, ``_on_message``."""
        patterns = self._topics.retained_filters()
        if self._set_threshold is not None:
            patterns.append(self._topics.orders)
        self._client.subscribe([(pattern, _QOS) for pattern in patterns])

    def _publish_present(self) -> None:
        """All that is retained."""
        self._retain(self._topics.availability, ONLINE)
        for feed, online in self._online.items():
            self._retain(self._topics.feed_availability(feed), ONLINE if online else OFFLINE)
        for feed, label in self._states:
            self._publish_state(feed, label)
        for feed, label in self._thresholds:
            if self._is_wanted(feed, label):
                self._publish_threshold(feed, label)
        for feed, labels in (self._feeds or {}).items():
            self._publish_any(feed)
            if self._settings.home_assistant:
                for topic, text in self._topics.discovery(feed, labels, control=self._takes_orders).items():
                    self._retain(topic, text)

    @property
    def _takes_orders(self) -> bool:
        return self._settings.control

    def _publish_any(self, feed: str) -> None:
        is_on = any(on for (other, _), on in self._states.items() if other == feed)
        self._retain(self._topics.any_state(feed), ON if is_on else OFF)

    def _publish_threshold(self, feed: str, label: str) -> None:
        self._retain(self._topics.threshold(feed, label), f"{self._thresholds[feed, label]:.4g}")

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
            return
        self._claim.forget()
        if not self._identity:
            self._take_topics()
            return
        topics = (self._topics.claim, self._topics.availability, self._topics.echo)
        self._probe_number = client.subscribe([(topic, _QOS) for topic in topics])[1] or -1
        self._wait_for_claim(self._settings.timeout_s)

    def _wait_for_claim(self, seconds: float) -> None:
        """Decide whose the topics are after some time, if that is not known before."""
        self._stop_waiting()
        self._claim_timer = threading.Timer(seconds, self._settle_claim)
        self._claim_timer.daemon = True
        self._claim_timer.start()

    def _stop_waiting(self) -> None:
        if self._claim_timer is not None:
            self._claim_timer.cancel()

    def _settle_claim(self) -> None:
        """All that the broker has retained of claims has been seen: take the topics, or wait until they are free."""
        with self._state_lock:
            if self._claim.is_ours or self._closed or not self._client.is_connected():
                return
            if refusal := self._claim.refusal:
                self._refuse(refusal)
            else:
                self._take_topics()

    def _refuse(self, refusal: str) -> None:
        now_s = time.monotonic()
        if now_s - self._loss_logged_s >= _LOG_INTERVAL_S:
            self._loss_logged_s = now_s
            _LOG.error("sink %s: %s", self.name, refusal)
        with self._changed:
            self._connected, self._trouble = False, refusal
            self._changed.notify_all()

    def _take_topics(self) -> None:
        document = self._claim.take()
        if self._identity:
            self._retain(self._topics.claim, document)
        self._look_around()

    def _on_subscribe(
        self, client: Client, userdata: Any, number: int, reasons: list[ReasonCode], properties: Properties | None
    ) -> None:
        """Only now, not in ``_on_connect``: paho has sent again what was not acknowledged, and that is older.

        A broker that refuses the subscriptions says so here too. Then topics of former feeds stay, and it is not seen
        whether another one uses them.
        """
        if number == self._probe_number:
            if any(reason.is_failure for reason in reasons):
                self._settle_claim()
            else:  # when this comes back, all that was retained has come
                client.publish(self._topics.echo, b"?", _QOS)
            return
        with self._state_lock:
            if not self._claim.is_ours:
                return
            self._publish_present()
            self._set_connected(True, "")

    def _on_connect_fail(self, client: Client, userdata: Any) -> None:
        self._set_connected(False, str(sys.exc_info()[1] or "no connection"))

    def _on_disconnect(
        self, client: Client, userdata: Any, flags: DisconnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        self._claim.forget()
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
        """A claim, an order, or something retained: cleared if it belongs to a feed or class that is no more."""
        if message.topic.endswith("/set"):
            self._take_order(message)
            return
        with self._state_lock:
            if message.topic == self._topics.echo:
                self._settle_claim()
            elif message.topic == self._topics.claim:
                self._claim.see_claim(bytes(message.payload))
                self._defend()
            elif message.topic == self._topics.availability:
                self._claim.see_availability(bytes(message.payload))
                self._defend()
            elif self._feeds is not None and message.retain and self._claim.is_ours:
                discovery, control = self._settings.home_assistant, self._takes_orders
                if message.topic not in self._topics.retained(self._feeds, discovery=discovery, control=control):
                    self._retain(message.topic, "")

    def _defend(self) -> None:
        """Keep what is ours, give up what is not, and take what has become free."""
        if self._closed:
            return
        if self._claim.is_contested:
            if self._claim.wins():
                self._retain(self._topics.claim, self._claim.take())
            else:
                self._claim.give_way()
                self._refuse(self._claim.refusal)
        elif self._claim.is_ours:
            if self._connected and self._claim.is_offline:  # the last will of one that was refused
                self._retain(self._topics.availability, ONLINE)
        elif self._trouble == self._claim.last_refusal and not self._claim.refusal:
            self._wait_for_claim(_FREE_AFTER_S)  # it may just have lost its connection

    def _take_order(self, message: MQTTMessage) -> None:
        """Set a threshold: a probability, or ``reset`` for what the configuration says."""
        with self._state_lock:
            orders = {
                self._topics.set_threshold(feed, label): (feed, label)
                for feed, labels in (self._feeds or {}).items()
                for label in labels
            }
        meant = orders.get(message.topic)
        if self._set_threshold is None or meant is None or message.retain:
            return
        text = message.payload.decode("utf-8", "replace").strip()
        try:
            self._set_threshold(*meant, None if text.lower() == "reset" else float(text))
        except (ValueError, UsageError) as error:
            _LOG.warning("sink %s: the threshold %.40r for %s cannot be set: %s", self.name, text, meant[0], error)
        except AvdetectError as error:
            _LOG.error("sink %s: a threshold cannot be set: %s", self.name, error)

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
