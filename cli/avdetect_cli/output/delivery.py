"""From findings to outputs to an exit code: what ``score`` and ``events`` do alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version

import typer

from avdetect.errors import AvdetectError
from avdetect.manifest import Manifest
from avdetect_cli.interrupts import exit_code_of, interrupts_held
from avdetect_cli.output.plan import Finding, OutputPlan
from avdetect_cli.output.writers import Writers
from avdetect_cli.terminal.stdout import FAILED, READER_GONE, ReaderGoneError
from avdetect_cli.terminal.text import warn

__all__ = ["deliver"]


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
        typer.Exit: Some source failed or a result could not be written (1), a signal ended it (128 and its number), or
            nobody reads standard output any more (141).
    """
    num_findings, num_failed = 0, 0
    stopped: KeyboardInterrupt | None = None
    errors: list[AvdetectError] = []
    failures: list[str] = []
    with Writers(plan, bundle=bundle, on_thresholds=on_thresholds, version=version("avdetect")) as writers:
        try:
            for finding in () if writers.is_done else findings:
                with aside(), interrupts_held():
                    lost = writers.write(finding)
                    errors += lost
                    failures += [] if finding.error is None else [finding.error]
                    failures += [str(error) for error in lost]
                    num_findings += 1
                    num_failed += finding.error is not None
                if writers.is_done:  # whatever else is found has nowhere to go
                    break
        except KeyboardInterrupt as error:
            stopped = error
        try:
            with interrupts_held():
                lost = writers.finish()
                errors += lost
                failures += [str(error) for error in lost]
        except KeyboardInterrupt as error:
            stopped = error
    only_unread = num_failed == 0 and all(isinstance(error, ReaderGoneError) for error in errors)
    for failure in failures:
        if not only_unread or writers.has_files:  # else who left knows it
            warn(failure)
    if num_failed and num_findings > 1:
        warn(f"{num_failed} of {num_findings} inputs failed.")
    if stopped is not None:
        warn("interrupted; what was finished is kept.")
        raise typer.Exit(exit_code_of(stopped))
    if failures:
        raise typer.Exit(READER_GONE if only_unread else FAILED)
