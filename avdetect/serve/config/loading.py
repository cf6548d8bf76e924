"""A configuration and what it comes to: all that is wrong with it at once, each mistake with its line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avdetect.errors import AvdetectError, BundleError, ProviderError, UsageError
from avdetect.manifest import EventRule, Manifest
from avdetect.runtime.bundle_files import default_bundle_path, read_manifest
from avdetect.serve.config.reading import STANDARD, KeyPath, Mistake, misuse, read_config, unknown
from avdetect.serve.config.settings import Config, FeedSettings, ModelSettings, WebSettings
from avdetect.serve.feeds.clip_requests import ClipOptions
from avdetect.serve.feeds.live_feed import FeedSpec
from avdetect.serve.feeds.supervisor import FeedAddress
from avdetect.serve.secrets import Secret, SecretSettings, expand_variables, with_credentials
from avdetect.serve.sinks import open_sink

if TYPE_CHECKING:
    from avdetect.runtime.prompts import Prompt

__all__ = ["CLIPS_FOLDER", "STORE_FILE", "LoadedConfig", "load_config"]

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


def load_config(path: Path) -> LoadedConfig:
    """Read the configuration at ``path``. Paths in it count from its folder.

    Raises:
        UsageError: all its mistakes, a line each.
    """
    file = read_config(path)
    config = file.config
    bundle = config.model.bundle or default_bundle_path()
    try:
        manifest = read_manifest(bundle)
    except BundleError as error:
        raise misuse(path, file.text, [Mistake(("model", "bundle"), str(error))]) from error
    mistakes = [*_missing_credentials(config, file.document), *_wrong_device(config.model)]
    mistakes += _unusable_sinks(config, mistakes)
    prompts = _prompts(config, bundle, manifest, mistakes)
    feeds = tuple(
        spec
        for name, feed in config.feeds.items()
        if (spec := _feed(name, feed, config, manifest, file.folder, mistakes)) is not None
    )
    token = _token(config.web, mistakes)
    if mistakes:
        raise misuse(path, file.text, mistakes)
    return LoadedConfig(config, manifest, prompts, feeds, token)


def _prompts(config: Config, bundle: Path, manifest: Manifest, mistakes: list[Mistake]) -> tuple[Prompt, ...]:
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


def _feed(
    name: str, feed: FeedSettings, config: Config, manifest: Manifest, folder: Path, mistakes: list[Mistake]
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
        Mistake((*above, *path), unknown(kind, label, known))
        for kind, known, path, label in named
        if label not in known
    ]
    if not feed.enabled or any(mistake.path[:2] == above for mistake in mistakes):
        return None
    try:
        url = _url(feed, folder)
    except UsageError as error:
        mistakes.append(Mistake((*above, "username"), str(error)))
        return None
    clips = None
    if config.clips.enabled and feed.clips:
        folder = config.store.folder / CLIPS_FOLDER
        clips = ClipOptions(folder, config.clips.pre_roll_s, config.clips.post_roll_s, early=True)
    return FeedSpec(name, FeedAddress(url, feed.options), _rules(feed, classes, manifest), clips)


def _rules(feed: FeedSettings, classes: Sequence[str], manifest: Manifest) -> tuple[EventRule | None, ...]:
    return tuple(feed.overrides.rules(classes, manifest))


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
