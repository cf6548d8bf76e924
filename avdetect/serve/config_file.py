"""Reading a configuration: all that is wrong with it at once, each mistake with its line."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from avdetect.errors import AvdetectError, BundleError, UsageError
from avdetect.events.rules import rules_for, with_overrides
from avdetect.manifest import EventRule, Manifest
from avdetect.runtime.bundle_files import default_bundle_path, read_manifest
from avdetect.serve.clip_requests import ClipOptions
from avdetect.serve.config import (
    ClipSettings,
    Config,
    FeedSettings,
    LogSettings,
    ModelSettings,
    StoreSettings,
    WebSettings,
)
from avdetect.serve.credentials import expand_variables, with_credentials
from avdetect.serve.live_feed import FeedSpec
from avdetect.serve.secrets import Secret, SecretSettings
from avdetect.serve.sinks.settings import CommandSettings, FileSettings, MqttSettings, WebhookSettings
from avdetect.serve.supervisor import FeedAddress
from avdetect.serve.toml_lines import KeyLines, KeyPath

if TYPE_CHECKING:
    from avdetect.runtime.prompts import Prompt

__all__ = ["CLIPS_FOLDER", "STORE_FILE", "LoadedConfig", "load_config", "read_config"]

CLIPS_FOLDER = "clips"
"""In the store's folder."""
STORE_FILE = "events.sqlite3"
"""Beside them."""

_SINKS: Mapping[str, type[BaseModel]] = {
    "webhook": WebhookSettings,
    "mqtt": MqttSettings,
    "command": CommandSettings,
    "file": FileSettings,
}
_MODELS: tuple[type[BaseModel], ...] = (
    Config,
    ModelSettings,
    StoreSettings,
    ClipSettings,
    WebSettings,
    LogSettings,
    FeedSettings,
    *_SINKS.values(),
)
_PATHS = {"bundle", "folder", "file", "path", "ca", "cert", "key"}
"""Settings that are paths, beside all that end in ``_file``."""
_STANDARD = "-"
"""Stands for standard input or output, where a path is expected."""
_SHOWN = {"literal_error", "greater_than", "greater_than_equal", "less_than", "less_than_equal"}
"""Errors whose input can be shown: no setting of these kinds is a secret."""
_SYNTAX = re.compile(r"(?P<what>.*) \(at line (?P<line>\d+), column \d+\)")


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A configuration without mistakes, and what it comes to."""

    config: Config
    manifest: Manifest
    """Of the bundle."""
    prompts: tuple[Prompt, ...]
    feeds: tuple[FeedSpec, ...]
    """Those that are enabled."""
    token: str | None
    """Of the web interface."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Those of the bundle, then those of words."""
        return (*self.manifest.class_names, *(prompt.name for prompt in self.prompts))

    def classes(self, feed: FeedSpec) -> tuple[str, ...]:
        """Those whose events are wanted."""
        rules = zip(self.class_names, feed.rules, strict=True)
        return tuple(name for name, rule in rules if rule is not None)

    def sinks(self, feed: str) -> tuple[str, ...]:
        """Those that the events of a feed go to."""
        chosen = self.config.feeds[feed].sinks
        return tuple(self.config.sinks) if chosen is None else chosen


@dataclass(frozen=True, slots=True)
class _Mistake:
    path: KeyPath
    message: str


@dataclass(frozen=True, slots=True)
class _File:
    """A configuration as it is written."""

    path: Path
    text: str
    document: Mapping[str, Any]
    config: Config

    @property
    def folder(self) -> Path:
        """From which paths count."""
        return self.path.resolve().parent

    def misuse(self, mistakes: Sequence[_Mistake]) -> UsageError:
        """All mistakes, with their lines."""
        return _misuse(self.path, self.text, mistakes)


def read_config(path: Path) -> Config:
    """Read what is set in the configuration at ``path``, but look neither for credentials nor at the bundle.

    Raises:
        UsageError: all that can be seen to be wrong so, a line each.
    """
    return _read(path).config


def load_config(path: Path) -> LoadedConfig:
    """Read the configuration at ``path``. Paths in it count from its folder.

    Raises:
        UsageError: all its mistakes, a line each.
    """
    file = _read(path)
    config = file.config
    bundle = config.model.bundle or default_bundle_path()
    try:
        manifest = read_manifest(bundle)
    except BundleError as error:
        raise file.misuse([_Mistake(("model", "bundle"), str(error))]) from error
    mistakes = list(_missing_credentials(config, file.document))
    prompts = _prompts(config, bundle, manifest, mistakes)
    feeds = tuple(
        spec
        for name, feed in config.feeds.items()
        if (spec := _feed(name, feed, config, manifest, file.folder, mistakes)) is not None
    )
    token = _token(config.web, mistakes)
    if mistakes:
        raise file.misuse(mistakes)
    return LoadedConfig(config, manifest, prompts, feeds, token)


def _read(path: Path) -> _File:
    try:
        text = path.read_text("utf-8")
        document = tomllib.loads(text)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not a text in UTF-8.") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(_syntax(path, str(error))) from error
    folder = path.resolve().parent
    try:
        config = Config.model_validate({**_with_paths(document, folder), **_words(document)})
    except ValidationError as error:
        found = [_mistake(details) for details in error.errors(include_url=False)]
        raise _misuse(path, text, found) from None  # its message would show what was set
    # The default counts from there as well.
    store = config.store.model_copy(update={"folder": folder / config.store.folder})
    return _File(path, text, document, config.model_copy(update={"store": store}))


def _words(document: Mapping[str, Any]) -> dict[str, Any]:
    """The part in which names are the user's own, whatever settings they look like."""
    return {"prompts": document["prompts"]} if "prompts" in document else {}


def _prompts(config: Config, bundle: Path, manifest: Manifest, mistakes: list[_Mistake]) -> tuple[Prompt, ...]:
    if not config.prompts:
        return ()
    from avdetect.runtime.prompts import (
        Prompt,
        check_new,
        check_understands,
    )  # only when asked: it takes time to import

    prompts: list[Prompt] = []
    try:
        check_understands(bundle, manifest)
    except AvdetectError as error:
        mistakes.append(_Mistake(("prompts",), str(error)))
    for name, phrases in config.prompts.items():
        try:
            prompts.append(Prompt(name, phrases))
            check_new(prompts[-1:], manifest.class_names)
        except UsageError as error:
            mistakes.append(_Mistake(("prompts", name), str(error)))
    return tuple(prompts)


def _missing_credentials(config: Config, document: Mapping[str, Any]) -> Iterator[_Mistake]:
    """Environment variables that are not set, and files that cannot be read, of all that is switched on."""
    sections: dict[KeyPath, SecretSettings] = {("web",): config.web} if config.web.enabled else {}
    sections |= {("sinks", name): sink for name, sink in config.sinks.items()}
    sections |= {("feeds", name): feed for name, feed in config.feeds.items() if feed.enabled}
    for above, settings in sections.items():
        for setting, secret in settings.secrets():
            try:
                secret.reveal()
            except UsageError as error:
                yield _Mistake((*above, *_as_written(setting, secret, document, above)), str(error))
        if isinstance(settings, FeedSettings):
            try:
                expand_variables(settings.url)
            except UsageError as error:
                yield _Mistake((*above, "url"), str(error))


def _as_written(setting: KeyPath, secret: Secret, document: Mapping[str, Any], above: KeyPath) -> KeyPath:
    """The key of a credential: of ``password = {env = "NAME"}`` or ``password_env = "NAME"``."""
    section: Any = document
    for name in above:
        section = section.get(name, {})
    short = f"{setting[0]}_{'file' if secret.env is None else 'env'}"
    return (short,) if short in section else setting


def _feed(
    name: str, feed: FeedSettings, config: Config, manifest: Manifest, folder: Path, mistakes: list[_Mistake]
) -> FeedSpec | None:
    """What the engine is told of a feed; ``None`` for one that is not to be run, or if there are mistakes."""
    above = ("feeds", name)
    classes, sinks = (*manifest.class_names, *config.prompts), tuple(config.sinks)
    named: list[tuple[str, tuple[str, ...], KeyPath, str]] = [
        *(("class", classes, ("classes", at), label) for at, label in enumerate(feed.classes or ())),
        *(("class", classes, ("thresholds", label), label) for label in feed.thresholds),
        *(("sink", sinks, ("sinks", at), sink) for at, sink in enumerate(feed.sinks or ())),
    ]
    mistakes += [
        _Mistake((*above, *path), _unknown(kind, label, known))
        for kind, known, path, label in named
        if label not in known
    ]
    if not feed.enabled or any(mistake.path[:2] == above for mistake in mistakes):
        return None
    try:
        rules = _rules(feed, classes, manifest)
        url = _url(feed, folder)
    except UsageError as error:
        mistakes.append(_Mistake(above, str(error)))
        return None
    clips = None
    if config.clips.enabled and feed.clips:
        folder = config.store.folder / CLIPS_FOLDER
        clips = ClipOptions(folder, config.clips.pre_roll_s, config.clips.post_roll_s, early=True)
    return FeedSpec(name, FeedAddress(url, feed.options), rules, clips)


def _rules(feed: FeedSettings, classes: Sequence[str], manifest: Manifest) -> tuple[EventRule | None, ...]:
    return tuple(
        with_overrides(
            rules_for(classes, manifest),
            classes,
            threshold=feed.threshold,
            per_class=feed.thresholds,
            only=feed.classes,
            smooth_snippets=feed.smooth_snippets,
            min_duration_s=feed.min_duration_s,
            merge_gap_s=feed.merge_gap_s,
            cooldown_s=feed.cooldown_s,
        )
    )


def _url(feed: FeedSettings, folder: Path) -> str:
    """With its credentials; the path of a file counts from ``folder``."""
    url = expand_variables(feed.url)
    if feed.username is not None or feed.password is not None:
        return with_credentials(url, _reveal(feed.username), _reveal(feed.password))
    is_device = feed.input_format is not None and not (folder / url).is_file()
    return url if "://" in url or url == _STANDARD or is_device else str(folder / url)


def _reveal(secret: Secret | None) -> str:
    return "" if secret is None else secret.reveal()


def _token(web: WebSettings, mistakes: list[_Mistake]) -> str | None:
    """The token of the web interface, if it has one."""
    if not web.enabled:
        return None
    try:
        token = None if web.token is None else web.token.reveal()
    except UsageError:
        return None  # told already, with all other credentials
    try:
        from avdetect.serve.web.auth import check_exposure

        check_exposure(web.host, token)
    except ModuleNotFoundError as error:
        raise UsageError(f"{error.name} is not installed; `pip install 'avdetect[serve]'` brings it.") from error
    except UsageError as error:
        mistakes.append(_Mistake(("web", "token" if web.token else "host"), str(error)))
        return None
    return token


def _with_paths(value: Any, folder: Path, key: str = "") -> Any:
    """``value`` with every path in it made absolute."""
    if isinstance(value, Mapping):
        return {inner: _with_paths(entry, folder, inner) for inner, entry in value.items()}
    if key == "argv" and isinstance(value, list) and value and "/" in str(value[0]):  # else it is looked for in PATH
        return [str(folder / str(value[0])), *value[1:]]
    is_path = key in _PATHS or key.endswith("_file")
    return str(folder / value) if is_path and isinstance(value, str) and value not in ("", _STANDARD) else value


def _misuse(path: Path, text: str, mistakes: Sequence[_Mistake]) -> UsageError:
    lines = KeyLines(text)
    located = sorted(((lines.line(mistake.path), mistake) for mistake in mistakes), key=itemgetter(0))
    rows = [f"{path}:{line}: {_dotted(mistake.path)}: {mistake.message}" for line, mistake in located]
    return UsageError("\n".join(rows if len(rows) == 1 else [f"{path} has {len(rows)} mistakes:", *rows]))


def _dotted(path: KeyPath) -> str:
    return ".".join(str(part) for part in path if isinstance(part, str))


def _syntax(path: Path, message: str) -> str:
    match = _SYNTAX.fullmatch(message)
    return f"{path}:{match['line']}: {match['what']}." if match else f"{path}: {message}."


def _mistake(details: ErrorDetails) -> _Mistake:
    """In words of the file, not of pydantic."""
    path = tuple(_without_tags(details["loc"]))
    kind, message = details["type"], details["msg"].removeprefix("Value error, ")
    match kind:
        case "extra_forbidden":
            known = sorted({name for model in _MODELS for name in model.model_fields})
            return _Mistake(path, "is no setting" + (_meant(str(path[-1]), known) or "."))
        case "missing":
            return _Mistake(path, "is missing.")
        case "union_tag_invalid" | "union_tag_not_found":
            return _Mistake((*path, "type"), f"must be one of {', '.join(_SINKS)}.")
    message = message.replace("Input should be", "must be").replace("'", '"')
    got = f", got {json.dumps(details['input'], default=str)}" if kind in _SHOWN else ""
    return _Mistake(path, f"{message}{got}.")


def _without_tags(path: Sequence[str | int]) -> Iterator[str | int]:
    """Pydantic puts the type of a sink into the path of its mistakes, and a mark behind the names of keys."""
    for place, part in enumerate(path):
        if not (part == "[key]" or (path[0] == "sinks" and place == 2 and part in _SINKS)):
            yield part


def _unknown(kind: str, name: str, known: Sequence[str]) -> str:
    choice = f"; there are {', '.join(known)}." if known else "; there is none."
    return f"no {kind} is called {json.dumps(name)}{_meant(name, known) or choice}"


def _meant(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {json.dumps(near[0])}?" if near else ""
