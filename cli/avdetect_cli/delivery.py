"""From findings to outputs to an exit code: what ``score`` and ``events`` do alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version

import typer

from avdetect.manifest import Manifest
from avdetect_cli.finding import Finding
from avdetect_cli.outputs import OutputPlan
from avdetect_cli.writers import Writers

__all__ = ["deliver"]

FAILED = 1
INTERRUPTED = 130


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
    failures: list[str] = []
    num_findings, interrupted = 0, False
    with Writers(plan, bundle=bundle, on_thresholds=on_thresholds, version=version("avdetect")) as writers:
        try:
            for finding in findings:
                num_findings += 1
                with aside():
                    errors = writers.write(finding)
                failures += [finding.error] if finding.error is not None else []
                failures += [str(error) for error in errors]
        except KeyboardInterrupt:
            interrupted = True
        failures += [str(error) for error in writers.finish()]
    _report(failures, num_findings)
    if interrupted:
        typer.echo("avdetect: interrupted; what was finished is kept.", err=True)
        raise typer.Exit(INTERRUPTED)
    if failures:
        raise typer.Exit(FAILED)


def _report(failures: Sequence[str], num_findings: int) -> None:
    for failure in failures:
        typer.echo(f"avdetect: {failure}", err=True)
    if failures and num_findings > 1:
        typer.echo(f"avdetect: {len(failures)} of {num_findings} inputs failed.", err=True)
