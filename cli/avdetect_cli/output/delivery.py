"""From findings to outputs to an exit code: what ``score`` and ``events`` do alike."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.metadata import version
from types import FrameType

import typer

from avdetect.manifest import Manifest
from avdetect_cli.output.plan import Finding, OutputPlan
from avdetect_cli.output.writers import Writers

__all__ = ["FAILED", "INTERRUPTED", "deliver"]

FAILED = 1
INTERRUPTED = 130
"""Exit codes."""


def deliver(
    findings: Iterable[Finding],
    plan: OutputPlan,
    *,
    bundle: Manifest | None,
    on_thresholds: Mapping[str, float],
    aside: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> None:
    """Write ``findings`` as they come, then say what failed.

    Args:
        findings: one per source. Interrupting them keeps what was finished.
        plan: what goes where.
        bundle: the manifest of the bundle that scored them, where it is known.
        on_thresholds: per class, the probability at which an event opens.
        aside: clears the terminal of anything else while a finding is written.

    Raises:
        typer.Exit: some source failed (1), or the user interrupted (130).
    """
    num_findings, num_failed, interrupted = 0, 0, False
    with Writers(plan, bundle=bundle, on_thresholds=on_thresholds, version=version("avdetect")) as writers:
        failures: list[str] = []
        try:
            for finding in findings:
                with aside(), _interrupts_held():
                    errors = [] if finding.error is None else [finding.error]
                    errors += [str(error) for error in writers.write(finding)]
                    failures += errors
                    num_findings += 1
                    num_failed += bool(errors)
        except KeyboardInterrupt:
            interrupted = True
        try:
            with _interrupts_held():
                failures += [str(error) for error in writers.finish()]
        except KeyboardInterrupt:
            interrupted = True
    for failure in failures:
        typer.echo(f"avdetect: {failure}", err=True)
    if num_failed and num_findings > 1:
        typer.echo(f"avdetect: {num_failed} of {num_findings} inputs failed.", err=True)
    if interrupted:
        typer.echo("avdetect: interrupted; what was finished is kept.", err=True)
        raise typer.Exit(INTERRUPTED)
    if failures:
        raise typer.Exit(FAILED)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """A first Ctrl-C waits for the end of the block, where something is being written; a second does not."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals go to the main thread
        return
    held = False

    def hold(number: int, frame: FrameType | None) -> None:
        nonlocal held
        if held:
            raise KeyboardInterrupt
        held = True

    before = signal.signal(signal.SIGINT, hold)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if held:
        raise KeyboardInterrupt
