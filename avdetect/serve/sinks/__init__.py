"""Where reports of live feeds are sent: one module per kind of receiver."""

from __future__ import annotations

from avdetect.errors import UsageError
from avdetect.serve.sinks.base import Delivery, DeliveryError, DeliveryKind, Sink
from avdetect.serve.sinks.settings import (
    CommandSettings,
    FileSettings,
    MqttSettings,
    SinkSettings,
    TlsSettings,
    WebhookSettings,
)

__all__ = [
    "CommandSettings",
    "Delivery",
    "DeliveryError",
    "DeliveryKind",
    "FileSettings",
    "MqttSettings",
    "Sink",
    "SinkSettings",
    "TlsSettings",
    "WebhookSettings",
    "open_sink",
]


def open_sink(name: str, settings: SinkSettings, *, identity: str = "") -> Sink:
    """A sink that can be opened and then delivered to; whether its receiver is there shows with the first report.

    Args:
        name: as configured: what waits for this sink in the store waits under this name.
        settings: of any kind.
        identity: what tells this installation from all others; for receivers that several may send to.

    Raises:
        UsageError: a credential is not where the settings say, a value cannot be used, or a library is missing.
    """
    # Each kind is imported when it is wanted: not all of their libraries need be installed.
    try:
        match settings:
            case WebhookSettings():
                from avdetect.serve.sinks.webhook import WebhookSink

                return WebhookSink(name, settings)
            case MqttSettings():
                from avdetect.serve.sinks.mqtt import MqttSink

                return MqttSink(name, settings, identity)
            case CommandSettings():
                from avdetect.serve.sinks.local import CommandSink

                return CommandSink(name, settings)
            case FileSettings():
                from avdetect.serve.sinks.local import FileSink

                return FileSink(name, settings)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"sink {name}: {error.name} is not installed; `pip install 'avdetect[serve]'` brings it."
        ) from error
