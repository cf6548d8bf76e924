"""One feed in the engine: its process, what it has been through, and when to try again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from avdetect.backoff import Backoff
from avdetect.events.event import FeedEvent, FeedGap
from avdetect.features.encoders import SnippetEmbedding
from avdetect.manifest import EventRule
from avdetect.runtime.bundle import Bundle
from avdetect.serve.feeds.clip_requests import ClipOptions, clip_requests
from avdetect.serve.feeds.listener import FeedState, FeedStatus
from avdetect.serve.feeds.messages import (
    FromFeed,
    SnippetReady,
    SnippetsTaken,
    Stop,
    StretchBegan,
    StretchEnded,
    Waiting,
)
from avdetect.serve.feeds.supervisor import Exited, FeedAddress, FeedProcess, FeedTarget
from avdetect.serve.feeds.track import FeedTrack, Report
from avdetect.serve.hours import Hours, is_in

__all__ = ["EngineOptions", "FeedSpec", "LiveFeed"]


@dataclass(frozen=True, slots=True)
class FeedSpec:
    """What the operator wants of a feed."""

    name: str
    address: FeedAddress
    rules: tuple[EventRule | None, ...]
    """How scores become events, one per class of the bundle; ``None`` for a class whose events are not wanted."""
    clips: ClipOptions | None = None
    hours: tuple[tuple[Hours, tuple[EventRule | None, ...]], ...] = ()
    """Rules that hold instead at some hours; of several, the first."""

    def rules_at(self, at: datetime) -> tuple[EventRule | None, ...]:
        """Those that hold at a time."""
        return next((rules for hours, rules in self.hours if is_in([hours], at)), self.rules)


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How the engine runs its feeds."""

    max_batch_snippets: int | None = None
    """How many snippets, of all feeds, the encoders take at once; ``None`` for what suits the bundle's processor."""
    update_interval_s: float = 2.0
    """An open event is reported again when it has grown by this much."""
    hang_after_s: float = 30.0
    """A process that is silent for so much longer than its source may be is killed and started again."""
    stop_within_s: float = 5.0
    """How long a process may take to send what is left when it is told to stop."""
    first_restart_s: float = 1.0
    """How long to wait before a process that crashed is started again; about doubled each time."""
    max_restart_s: float = 60.0
    """The longest such wait."""
    recovered_after_s: float = 10.0
    """A process that ran for so long had recovered: the next failure is a first one again."""


class LiveFeed:
    """Keeps a feed's process running and its reports in order.

    Everything is called in the engine's thread, except ``deliver``.

    Args:
        spec: what is wanted.
        bundle: whose detector to run.
        options: of the engine.
        target: what runs in the process.
        deliver: called from a thread with each message of the process.
        on_state: called when the feed's state has changed.
        outage: a gap that has been reported already and lasts until the first media.
    """

    def __init__(
        self,
        spec: FeedSpec,
        bundle: Bundle,
        options: EngineOptions,
        target: FeedTarget,
        *,
        deliver: Callable[[LiveFeed, FromFeed | Exited], None],
        on_state: Callable[[FeedStatus], None],
        outage: FeedGap | None = None,
    ) -> None:
        self.spec = spec
        self._manifest = bundle.manifest
        self._options = options
        self._target = target
        self._deliver = deliver
        self._on_state = on_state
        self._rules = spec.rules_at(datetime.now(UTC))
        self._track = FeedTrack(
            spec.name, bundle, self._rules, update_interval_s=options.update_interval_s, outage=outage
        )
        self._backoff = Backoff(first_s=options.first_restart_s, max_s=options.max_restart_s)
        source = spec.address.options
        self._patience_s = options.hang_after_s + max(source.open_timeout_s, source.stall_timeout_s)
        self._process: FeedProcess | None = None
        self._started_s = 0.0
        self._deadline_s = 0.0  # when the process is taken to hang, or is to be started again
        self._num_stretches = 0
        self._is_over = False
        self._stopping = False
        self.status = FeedStatus(spec.name, "connecting", datetime.now(UTC))
        self.over = False
        """Whether nothing more will come of it."""

    def start(self) -> None:
        """Start the process."""
        self._track.process_started()
        self._started_s = time.monotonic()
        self._expect_within(self._patience_s)
        try:
            self._process = FeedProcess(
                self.spec.name,
                self.spec.address,
                self._manifest,
                self._target,
                lambda message: self._deliver(self, message),
            )
        except OSError as error:  # out of memory, processes or descriptors
            self._try_again_later(f"The feed's process cannot be started: {error.strerror or error}.")
        else:
            self._set_state("connecting", self.status.message)

    def take(self, message: FromFeed | Exited) -> list[Report]:
        """What follows from a message, all but ``SnippetReady`` and ``ClipCut``."""
        now_unix_s = time.time()
        self._expect_within(self._patience_s)
        match message:
            case StretchBegan():
                self._num_stretches += 1
                reports = self._track.begin(message)
                self.status = replace(
                    self.status,
                    has_audio=message.info.audio_codec is not None,
                    has_video=message.info.video_codec is not None,
                )
                self._set_state("running", "")
                return reports
            case StretchEnded():
                self._is_over = message.is_final
                if (message.is_final or self.spec.address.ends) and message.reason == "ended":
                    return self._track.end(now_unix_s, lost=False)
                if self._stopping:
                    return self._track.end(now_unix_s, lost=True)
                return self._lose(message.reason, message.message)
            case Waiting():
                self._expect_within(message.retry_in_s + self._patience_s)
                return self._lose(message.reason, message.message)
            case Exited():
                return self._exited(message)
        return []

    def score(self, snippets: Sequence[tuple[SnippetReady, SnippetEmbedding]]) -> list[Report]:
        """The next snippets of the stretch, encoded; makes room for as many more."""
        self._expect_within(self._patience_s)
        dropped_before = self._track.num_dropped_snippets
        reports: list[Report] = []
        for ready, embedding in snippets:
            reports += self._track.push(ready, embedding, time.time())
        if self._process is not None:
            self._process.send(SnippetsTaken(len(snippets)))
        if self._track.num_dropped_snippets != dropped_before:
            self._set_state(self.status.state, self.status.message)
        return reports

    def ask_for_clips(self, event: FeedEvent) -> None:
        """Ask for the clips of an event that has just been reported."""
        if self.spec.clips is None or self._process is None:
            return
        for request in clip_requests(event, self.spec.clips, self._track.stretch, self._track.stretch_start_s):
            self._process.send(request)

    def change(self, spec: FeedSpec) -> list[Report]:
        """Go on with other rules or clips; the source and the connection stay."""
        assert spec.address == self.spec.address
        self.spec = spec
        return self._keep_to_rules()

    @property
    def is_stopping(self) -> bool:
        """Whether it was told to stop, or has."""
        return self._stopping or self.over

    def tend(self) -> list[Report]:
        """Start what is due, kill what hangs, change rules at their hour. Called a few times a second."""
        if self.over:
            return []
        return self._keep_to_rules() + self._keep_running()

    def _keep_to_rules(self) -> list[Report]:
        rules = self.spec.rules_at(datetime.now(UTC)) if self.spec.hours else self.spec.rules
        if rules == self._rules:
            return []
        self._rules = rules
        return self._track.change_rules(rules)

    def _keep_running(self) -> list[Report]:
        if time.monotonic() < self._deadline_s:
            return []
        if self._process is None:
            self.start()
            return []
        self._process.kill()
        if self._stopping:
            return []
        self._expect_within(self._patience_s)
        return self._track.lose("hung", "The feed's process does not answer and is started again.", time.time())

    def excuse(self, seconds: float) -> None:
        """The engine itself did not listen for so long: the process has as much more time to answer."""
        self._deadline_s += seconds

    def stop(self) -> list[Report]:
        """Let the process send what is left and end; ``over`` follows."""
        if self._stopping or self.over:
            return []
        self._stopping = True
        if self._process is None:
            reports = self._track.stop(time.time(), lost=True)
            self._finish("stopped")
            return reports
        self._process.send(Stop())
        self._deadline_s = time.monotonic() + self._options.stop_within_s
        return []

    def gap_to_successor(self) -> FeedGap | None:
        """The gap until a feed that takes the place of this one, which is over, has media; ``None`` if it had none."""
        known_until_unix_s = self._track.known_until_unix_s
        if known_until_unix_s is None:
            return None
        message = "The feed was started again with other settings."
        return FeedGap(self.spec.name, "reconfigured", message, 0.0, datetime.fromtimestamp(known_until_unix_s, UTC))

    def abort(self) -> None:
        """Kill the process and forget it."""
        if self._process is not None:
            self._process.kill()
            self._process.close()
            self._process = None
        self.over = True

    def _exited(self, exited: Exited) -> list[Report]:
        assert self._process is not None  # who else would have said so
        self._process.close()
        self._process = None
        now_unix_s = time.time()
        if self._stopping or ((self._is_over or self.spec.address.ends) and exited.exit_code == 0):
            reports = self._track.stop(now_unix_s, lost=True)
            self._finish("stopped" if self._stopping else "ended")
            return reports
        message = f"The feed's process ended unexpectedly ({_how(exited.exit_code)})."
        reports = self._track.lose("crashed", message, now_unix_s)
        self._try_again_later(message)
        return reports

    def _try_again_later(self, message: str) -> None:
        now_s = time.monotonic()
        if now_s - self._started_s > self._options.recovered_after_s:
            self._backoff.reset()
        self._deadline_s = now_s + self._backoff.next_s()
        self._set_state("restarting", message)

    def _lose(self, reason: str, message: str) -> list[Report]:
        reports = self._track.lose(reason, message, time.time())
        self._set_state("waiting", message)
        return reports

    def _finish(self, state: FeedState) -> None:
        self.over = True
        self._set_state(state, "")

    def _expect_within(self, seconds: float) -> None:
        if not self._stopping:
            self._deadline_s = time.monotonic() + seconds

    def _set_state(self, state: FeedState, message: str) -> None:
        status = replace(
            self.status,
            state=state,
            message=message,
            num_reconnects=max(self._num_stretches - 1, 0),
            num_dropped_snippets=self._track.num_dropped_snippets,
        )
        if status != self.status:
            changed = status.state != self.status.state
            self.status = replace(status, since=datetime.now(UTC) if changed else status.since)
            self._on_state(self.status)


def _how(exit_code: int) -> str:
    return f"signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"
