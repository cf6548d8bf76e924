"""What an operator chooses for each sink. Nothing here needs the libraries that the sinks need."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from avdetect.events.event import Modality
from avdetect.serve.hours import HoursSetting, is_in
from avdetect.serve.secrets import Secret, SecretSettings

__all__ = [
    "CommandSettings",
    "FileSettings",
    "MqttSettings",
    "ReportFilter",
    "SinkSettings",
    "TlsSettings",
    "WebhookSettings",
]

_MQTT_PORT = 1883
_MQTT_TLS_PORT = 8883

Seconds = Annotated[float, Field(gt=0, le=3600)]


def _topic(text: str) -> str:
    """A topic that others are put below."""
    if text != text.strip("/") or not text or any(character in text for character in "+#\0"):
        raise ValueError("must be a topic without `+` and `#`, and without `/` at its ends")
    return text


class ReportFilter(SecretSettings):
    """What every sink may choose: which reports of events it gets. Gaps go to all sinks."""

    classes: tuple[str, ...] | None = None
    """Events of these classes; ``None`` for all."""
    modality: tuple[Modality, ...] | None = None
    """Events that were carried by one of these; ``None`` for all."""
    quiet_hours: tuple[HoursSetting, ...] = ()
    """No event that opens at these hours."""

    @field_validator("modality", "quiet_hours", "classes", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    def wants(self, label: str, modality: Modality, started_at: datetime) -> bool:
        """Whether a sink with these settings gets an event."""
        return (
            (self.classes is None or label in self.classes)
            and (self.modality is None or modality in self.modality)
            and not is_in(self.quiet_hours, started_at)
        )


class WebhookSettings(ReportFilter):
    """A URL that every report is sent to with POST."""

    type: Literal["webhook"] = "webhook"
    url: Secret
    """http or https; kept secret, as those of many services hold a token."""
    secret: Secret | None = None
    """Signs every request."""
    headers: dict[str, Secret] = Field(default_factory=dict)
    """Sent along, such as ``Authorization``."""
    timeout_s: Seconds = 10.0
    """For connecting, and for every pause of the answer."""


class TlsSettings(BaseModel):
    """Encryption of the connection to a broker."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ca: Path | None = None
    """Certificates that are trusted; the system's by default."""
    cert: Path | None = None
    """To identify ourselves, with its key."""
    key: Path | None = None
    insecure: bool = False
    """Accept a certificate of another host."""

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.cert is None) != (self.key is None):
            raise ValueError("`cert` and `key` go together")
        return self


class MqttSettings(ReportFilter):
    """A broker, and what is told to it below ``prefix``."""

    type: Literal["mqtt"] = "mqtt"
    host: str = Field(min_length=1)
    port: int | None = Field(default=None, ge=1, le=65535)
    """By default 1883, or 8883 with TLS."""
    username: str | None = None
    password: Secret | None = None
    tls: TlsSettings | None = None
    """A table, or ``true`` for one with the defaults."""
    client_id: str | None = Field(default=None, min_length=1)
    """By default another one every time."""
    prefix: Annotated[str, AfterValidator(_topic)] = "avdetect"
    """Of all topics; no two services may share one."""
    home_assistant: bool = False
    """Whether feeds and classes show up in Home Assistant by themselves."""
    discovery_prefix: Annotated[str, AfterValidator(_topic)] = "homeassistant"
    control: bool = False
    """Whether thresholds can be set through the broker: by anyone who may publish there."""
    keepalive_s: int = Field(default=30, ge=5, le=3600)
    """After one and a half of these without a sign of life the broker says that we are offline."""
    timeout_s: Seconds = 10.0
    """For connecting, and for the broker's acknowledgement."""

    @field_validator("tls", mode="before")
    @classmethod
    def _switch(cls, value: Any) -> Any:
        if isinstance(value, bool):
            return TlsSettings() if value else None
        if not isinstance(value, dict | TlsSettings | None):
            raise ValueError("must be true, false or a table")
        return value

    @field_validator("host")
    @classmethod
    def _name(cls, value: str) -> str:
        try:
            value.encode("idna")
        except UnicodeError as error:
            raise ValueError("is no name of a host") from error
        return value

    @model_validator(mode="after")
    def _whose_password(self) -> Self:
        if self.password is not None and self.username is None:
            raise ValueError("`password` needs `username`")
        return self

    @property
    def chosen_port(self) -> int:
        """The port, or the usual one."""
        return self.port or (_MQTT_PORT if self.tls is None else _MQTT_TLS_PORT)


class CommandSettings(ReportFilter):
    """A program that is run for every report, with the report on its standard input and in its environment."""

    type: Literal["command"] = "command"
    argv: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=1)
    """The program and its arguments; no shell sees them."""
    timeout_s: Seconds = 30.0
    """After which it is killed, with all that it started."""
    attempts: int = Field(default=5, ge=1)
    """How often a report is tried before it is given up."""
    pass_env: tuple[str, ...] = ()
    """Names of variables of the service's environment that the program gets, beside PATH, HOME and the like."""


class FileSettings(ReportFilter):
    """A file that every report is appended to, one line of JSON each."""

    type: Literal["file"] = "file"
    path: str = Field(min_length=1)
    """``-`` for standard output. The file may be moved away at any time, as log rotation does."""


SinkSettings = Annotated[
    WebhookSettings | MqttSettings | CommandSettings | FileSettings,
    Field(discriminator="type"),
]
"""Any of them, told apart by ``type``."""
