"""A configuration and what it comes to: all that is wrong with it at once, each mistake with its line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avdetect.errors import AvdetectError, BundleError, ProviderError, UsageError
from avdetect.events.event import FeedEvent
from avdetect.manifest import EventRule, Manifest
from avdetect.redaction import redacted
from avdetect.runtime.bundle_files import default_bundle_path, read_manifest
from avdetect.serve.config.checks import exposure_notes, missing_things
from avdetect.serve.config.mistakes import KeyPath, Mistake, misuse, unknown
from avdetect.serve.config.reading import STANDARD, examine_config
from avdetect.serve.config.settings import Config, FeedSettings, HourSettings, ModelSettings, WebSettings
from avdetect.serve.feeds.clip_requests import ClipOptions
from avdetect.serve.feeds.live_feed import FeedSpec
from avdetect.serve.feeds.supervisor import FeedAddress
from avdetect.serve.hours import Hours
from avdetect.serve.secrets import Secret, SecretSettings, expand_variables, with_credentials
from avdetect.serve.sinks import open_sink

if TYPE_CHECKING:
    from avdetect.runtime.prompts import Prompt

__all__ = ["CLIPS_FOLDER", "FIXED", "STORE_FILE", "LoadedConfig", "load_config"]

FIXED = ("model", "prompts", "store")
"""Sections that only a restart can change."""
CLIPS_FOLDER = "clips"
"""In the store's folder."""
STORE_FILE = "events.sqlite3"
"""Beside them."""


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
    notes: tuple[str, ...] = ()
    """What the operator should know; nothing of it keeps the service from running."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Those of the bundle, then those of words."""
        return (*self.manifest.class_names, *(prompt.name for prompt in self.prompts))

    def classes(self, feed: str) -> tuple[str, ...]:
        """Those whose events are wanted, at some hour at least."""
        chosen = self.config.feeds[feed].classes
        return tuple(name for name in self.class_names if chosen is None or name in chosen)

    def sinks(self, feed: str, event: FeedEvent | None = None) -> tuple[str, ...]:
        """Those that the reports of a feed go to; of an event, those that want it."""
        settings = self.config.feeds.get(feed)  # none: it has just been taken out
        chosen = tuple(self.config.sinks) if settings is None or settings.sinks is None else settings.sinks
        if event is None:
            return chosen
        found = event.event
        return tuple(
            name for name in chosen if self.config.sinks[name].wants(found.class_name, found.modality, event.started_at)
        )

    def feed(self, name: str, thresholds: Mapping[str, float]) -> FeedSpec:
        """An enabled feed, with ``thresholds`` of single classes that go before all others."""
        spec = next(spec for spec in self.feeds if spec.name == name)
        settings = self.config.feeds[name]
        rules = _rules(settings, self.class_names, self.manifest, thresholds)
        hours = _rules_by_hour(settings, self.class_names, self.manifest, thresholds)
        return replace(spec, rules=rules, hours=hours)


def load_config(path: Path, *, running: LoadedConfig | None = None, thorough: bool = False) -> LoadedConfig:
    """Read the configuration at ``path``. Paths in it count from its folder.

    Args:
        path: of the file.
        running: what a service runs with: of this, ``FIXED`` sections stay as they are, and a note says so.
        thorough: whether files and programs that are not there are mistakes; otherwise they are notes: they may come.

    Raises:
        UsageError: all its mistakes, a line each.
    """
    file = examine_config(path)
    mistakes = list(file.mistakes)
    config, notes = file.config, list(exposure_notes(file))
    if running is not None:
        config, changed = _with_fixed(config, running.config)
        notes += [f"a change of [{name}] needs a restart; all else is taken over." for name in changed]
    bundle = config.model.bundle or default_bundle_path()
    manifest = _manifest(bundle, mistakes)
    mistakes += [*_missing_credentials(config, file.document), *_wrong_device(config.model)]
    mistakes += _unusable_sinks(config, mistakes)
    prompts = _prompts(config, bundle, manifest, mistakes)
    classes = None if manifest is None else (*manifest.class_names, *config.prompts)
    mistakes += _unknown_names(config, classes, tuple(file.document.get("sinks", {})))
    feeds = tuple(
        spec
        for name, feed in config.feeds.items()
        if (spec := _feed(name, feed, config, manifest, file.folder, mistakes)) is not None
    )
    token = _token(config.web, mistakes)
    missing = list(missing_things(config, feeds))
    if thorough:
        mistakes += missing
    if mistakes or manifest is None:
        raise misuse(path, file.text, mistakes)
    notes += [redacted(f"{'.'.join(map(str, mistake.path))}: {mistake.message}") for mistake in missing]
    return LoadedConfig(config, manifest, prompts, feeds, token, tuple(notes))


def _with_fixed(config: Config, running: Config) -> tuple[Config, list[str]]:
    """``config`` with the sections that only a restart can change, and which of them it would change."""
    changed = [name for name in FIXED if getattr(config, name) != getattr(running, name)]
    return config.model_copy(update={name: getattr(running, name) for name in changed}), changed


def _manifest(bundle: Path, mistakes: list[Mistake]) -> Manifest | None:
    try:
        return read_manifest(bundle)
    except BundleError as error:
        mistakes.append(Mistake(("model", "bundle"), str(error)))
        return None


def _prompts(config: Config, bundle: Path, manifest: Manifest | None, mistakes: list[Mistake]) -> tuple[Prompt, ...]:
    if not config.prompts or manifest is None:
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
        mistakes.append(Mistake(("prompts",), str(error)))
    for name, phrases in config.prompts.items():
        try:
            prompts.append(Prompt(name, phrases))
            check_new(prompts[-1:], manifest.class_names)
        except UsageError as error:
            mistakes.append(Mistake(("prompts", name), str(error)))
    return tuple(prompts)


def _missing_credentials(config: Config, document: Mapping[str, Any]) -> Iterator[Mistake]:
    """Environment variables that are not set, and files that cannot be read, of all that is switched on."""
    sections: dict[KeyPath, SecretSettings] = {("web",): config.web} if config.web.enabled else {}
    sections |= {("sinks", name): sink for name, sink in config.sinks.items()}
    sections |= {("feeds", name): feed for name, feed in config.feeds.items() if feed.enabled}
    for above, settings in sections.items():
        for setting, secret in settings.secrets():
            try:
                secret.reveal()
            except UsageError as error:
                yield Mistake((*above, *_as_written(setting, secret, document, above)), str(error))
        if isinstance(settings, FeedSettings):
            try:
                expand_variables(settings.url)
            except UsageError as error:
                yield Mistake((*above, "url"), str(error))


def _wrong_device(model: ModelSettings) -> Iterator[Mistake]:
    from avdetect.runtime.session import choose_provider

    try:
        choose_provider(model.device)
    except (UsageError, ProviderError) as error:
        yield Mistake(("model", "device"), str(error).removeprefix(f"--device {model.device}: "))


def _unusable_sinks(config: Config, mistakes: Sequence[Mistake]) -> list[Mistake]:
    """Those that could not be opened, but for the ones in ``mistakes`` already."""
    told = {mistake.path[:2] for mistake in mistakes}
    found = []
    for name, settings in config.sinks.items():
        if ("sinks", name) not in told:
            try:
                open_sink(name, settings).close()
            except UsageError as error:
                found.append(Mistake(("sinks", name), str(error).removeprefix(f"sink {name}: ")))
    return found


def _as_written(setting: KeyPath, secret: Secret, document: Mapping[str, Any], above: KeyPath) -> KeyPath:
    """The key of a credential: of ``password = {env = "NAME"}`` or ``password_env = "NAME"``."""
    section: Any = document
    for name in above:
        section = section.get(name, {})
    short = f"{setting[0]}_{'file' if secret.env is None else 'env'}"
    return (short,) if short in section else setting


def _unknown_names(config: Config, classes: Sequence[str] | None, sinks: Sequence[str]) -> Iterator[Mistake]:
    """Classes and sinks that do not exist; of classes nothing can be said where the bundle is not known."""
    named: list[tuple[str, Sequence[str] | None, KeyPath, str]] = []
    for name, feed in config.feeds.items():
        above: KeyPath = ("feeds", name)
        named += [("class", classes, (*above, "classes", at), label) for at, label in enumerate(feed.classes or ())]
        named += [("class", classes, (*above, "thresholds", label), label) for label in feed.thresholds]
        named += [("sink", sinks, (*above, "sinks", at), sink) for at, sink in enumerate(feed.sinks or ())]
        for hours, rule in feed.hours.items():
            path = (*above, "hours", hours.text, "thresholds")
            named += [("class", classes, (*path, label), label) for label in rule.thresholds]
    for name, sink in config.sinks.items():
        path = ("sinks", name, "classes")
        named += [("class", classes, (*path, at), label) for at, label in enumerate(sink.classes or ())]
    for kind, known, where, text in named:
        if known is not None and text not in known:
            yield Mistake(where, unknown(kind, text, known))


def _feed(
    name: str, feed: FeedSettings, config: Config, manifest: Manifest | None, folder: Path, mistakes: list[Mistake]
) -> FeedSpec | None:
    """What the engine is told of a feed; ``None`` for one that is not to be run, or if there are mistakes."""
    if not feed.enabled or manifest is None or any(mistake.path[:2] == ("feeds", name) for mistake in mistakes):
        return None
    try:
        url = _url(feed, folder)
    except UsageError as error:
        mistakes.append(Mistake(("feeds", name, "username"), str(error)))
        return None
    clips = None
    if config.clips.enabled and feed.clips:
        folder = config.store.folder / CLIPS_FOLDER
        clips = ClipOptions(folder, config.clips.pre_roll_s, config.clips.post_roll_s, early=True)
    classes = (*manifest.class_names, *config.prompts)
    rules, hours = _rules(feed, classes, manifest), _rules_by_hour(feed, classes, manifest)
    return FeedSpec(name, FeedAddress(url, feed.options), rules, clips, hours)


def _rules(
    feed: FeedSettings,
    classes: Sequence[str],
    manifest: Manifest,
    chosen: Mapping[str, float] = {},
    hour: HourSettings | None = None,
) -> tuple[EventRule | None, ...]:
    """One for each class, with the thresholds of an ``hour``, and before them those ``chosen`` on the page."""
    if hour is not None and hour.quiet:
        return (None,) * len(classes)
    wanted = feed.overrides
    threshold, thresholds = wanted.threshold, dict(wanted.thresholds)
    if hour is not None:
        if hour.threshold is not None:
            threshold, thresholds = hour.threshold, {}
        thresholds |= hour.thresholds
    thresholds |= {label: value for label, value in chosen.items() if label in classes}
    wanted = wanted.model_copy(update={"threshold": threshold, "thresholds": thresholds})
    return tuple(wanted.rules(classes, manifest))


def _rules_by_hour(
    feed: FeedSettings, classes: Sequence[str], manifest: Manifest, chosen: Mapping[str, float] = {}
) -> tuple[tuple[Hours, tuple[EventRule | None, ...]], ...]:
    return tuple((hours, _rules(feed, classes, manifest, chosen, hour)) for hours, hour in feed.hours.items())


def _url(feed: FeedSettings, folder: Path) -> str:
    """With its credentials; the path of a file counts from ``folder``."""
    url = expand_variables(feed.url)
    if feed.username is not None or feed.password is not None:
        return with_credentials(url, _reveal(feed.username), _reveal(feed.password))
    is_device = feed.input_format is not None and not (folder / url).is_file()
    return url if "://" in url or url == STANDARD or is_device else str(folder / url)


def _reveal(secret: Secret | None) -> str:
    return "" if secret is None else secret.reveal()


def _token(web: WebSettings, mistakes: list[Mistake]) -> str | None:
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
        mistakes.append(Mistake(("web", "token" if web.token else "host"), str(error)))
        return None
    return token
