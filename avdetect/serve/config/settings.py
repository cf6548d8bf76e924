"""The configuration of ``avdetect serve``: what may be set, and what it means."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from avdetect.events.rules import RuleOverrides
from avdetect.manifest import Probability, Seconds
from avdetect.media.live_options import LiveOptions
from avdetect.serve.hours import HoursSetting
from avdetect.serve.secrets import Secret, SecretSettings
from avdetect.serve.sinks.settings import SinkSettings

__all__ = [
    "ClipSettings",
    "Config",
    "FeedSettings",
    "HourSettings",
    "LogSettings",
    "ModelSettings",
    "StoreSettings",
    "WebSettings",
]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)")
_SECONDS_IN = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES_IN = {"MB": 10.0**6, "GB": 10.0**9, "TB": 10.0**12}


def _name(text: str) -> str:
    if _NAME.fullmatch(text) is None:
        raise ValueError("a name has up to 64 letters, digits, - and _, and begins with a letter or a digit")
    return text


def _amount(units: dict[str, float], example: str) -> BeforeValidator:
    """Takes ``"30 d"`` and gives back the number in the smallest unit."""

    def parse(value: Any) -> float:
        match = _AMOUNT.fullmatch(value.strip()) if isinstance(value, str) else None
        if match is None or match[2] not in units:
            raise ValueError(f"must be a number and one of {', '.join(units)}, as in {example}")
        return float(match[1]) * units[match[2]]

    return BeforeValidator(parse)


def _phrases(value: Any) -> Any:
    """One phrase, or several."""
    phrases = (value,) if isinstance(value, str) else value
    if not isinstance(phrases, list | tuple) or not all(isinstance(phrase, str) for phrase in phrases):
        raise ValueError('must be a phrase or a list of phrases, as in "a smoke alarm beeps"')
    return tuple(phrases)


Name = Annotated[str, AfterValidator(_name)]
Phrases = Annotated[tuple[str, ...], BeforeValidator(_phrases)]
Age = Annotated[float, _amount(_SECONDS_IN, '"30 d"'), Field(gt=0)]
Size = Annotated[float, _amount(_BYTES_IN, '"10 GB"'), Field(gt=0)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelSettings(_Section):
    """What detects."""

    bundle: Path | None = None
    """``None`` for the embedded one."""
    device: str = "auto"


class StoreSettings(_Section):
    """Where events, gaps, clips and pictures are kept, and for how long."""

    folder: Path = Path("avdetect-data")
    max_age: Age | None = None
    """In seconds; written as ``"30 d"``."""
    max_size: Size | None = None
    """In bytes, clips included; written as ``"10 GB"``."""
    scores_max_age: Annotated[float, _amount(_SECONDS_IN, '"7 d"')] = 7 * 86400.0
    """For how long the scores of every snippet are kept, to calibrate with; ``"0 d"`` keeps none."""


class ClipSettings(_Section):
    """What is kept of the media around an event."""

    enabled: bool = True
    pre_roll_s: Seconds = 5.0
    post_roll_s: Seconds = 5.0


class WebSettings(SecretSettings):
    """The page and the programs' interface."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8765
    token: Secret | None = None
    """Needed as soon as other machines can reach the host."""


class LogSettings(_Section):
    """What is written to standard error."""

    format: Literal["text", "json"] = "text"
    level: Literal["debug", "info", "warning", "error"] = "info"


class HourSettings(_Section):
    """What holds of a feed at some hours, instead of what holds otherwise."""

    quiet: bool = False
    """No events at all."""
    threshold: Probability | None = None
    thresholds: dict[str, Probability] = Field(default_factory=dict)


class FeedSettings(SecretSettings, LiveOptions, RuleOverrides):
    """One source, how to reach it, and what of it counts."""

    url: Annotated[str, Field(min_length=1, repr=False)]
    """``${NAME}`` stands for an environment variable."""
    enabled: bool = True
    username: Secret | None = None
    password: Secret | None = None
    hours: dict[HoursSetting, HourSettings] = Field(default_factory=dict)
    """Thresholds at some hours, as ``"22:00-06:00"``; of several that hold at once, the first."""
    sinks: tuple[str, ...] | None = None
    """Names of those that its events go to; ``None`` for all."""
    clips: bool = True
    """Whether to keep clips, where they are kept at all."""

    @property
    def overrides(self) -> RuleOverrides:
        """What of it counts as an event."""
        return RuleOverrides.model_validate({name: getattr(self, name) for name in RuleOverrides.model_fields})

    @property
    def options(self) -> LiveOptions:
        """How to reach it."""
        return LiveOptions.model_validate({name: getattr(self, name) for name in LiveOptions.model_fields})


class Config(_Section):
    """The whole file."""

    model: ModelSettings = ModelSettings()
    prompts: dict[str, Phrases] = {}
    """Classes that are told in words, beside those of the bundle: by name, wordings of the same."""
    store: StoreSettings = StoreSettings()
    clips: ClipSettings = ClipSettings()
    web: WebSettings = WebSettings()
    log: LogSettings = LogSettings()
    sinks: dict[Name, SinkSettings] = {}
    feeds: Annotated[dict[Name, FeedSettings], Field(min_length=1)]
