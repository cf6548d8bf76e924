"""Bars on stderr: of sources, of extraction, and of training with a line per epoch."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from avdetect.errors import printable
from avdetect_cli.terminal.text import show_duration

if TYPE_CHECKING:
    from avdetect.training.progress import DataPlan, EpochReport, TrainingOutcome, TrainingPlan

__all__ = ["TrainingDisplay", "extraction_progress", "source_bars"]

_NO_EVENT = "normal"
_SHOWN = {"loss": "loss", "val_frame_ap": "frame AP", "val_bag_ap": "bag AP"}
"""Metric -> its column."""
_WIDTH = 9


def source_bars() -> Progress:
    """Make bars with a speed and the time left, for the sources that are being scored."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[speed]}", justify="right"),
        TextColumn("{task.fields[left]}", style="bright_black"),
        console=Console(stderr=True),
        transient=True,
        expand=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )


@contextmanager
def extraction_progress(*, enabled: bool, what: str = "extracting") -> Iterator[Callable[[int, int], None] | None]:
    """A bar on stderr, on a terminal; gives what to call with the number of files done and to do.

    Args:
        enabled: whether to draw it.
        what: is being done, as a word in front of the bar.
    """
    if not enabled or not sys.stderr.isatty():
        yield None
        return
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bars = Progress(*columns, console=Console(stderr=True), transient=True)
    task = bars.add_task(what, total=None)

    def show(done: int, total: int) -> None:
        bars.update(task, completed=done, total=total)
        if 0 < done == total:
            bars.stop()  # what comes next has the terminal to itself
        elif total:
            bars.start()

    try:
        yield show
    finally:
        bars.stop()


class TrainingDisplay:
    """An observer that writes lines, and on a terminal draws a bar below them.

    Args:
        bar: whether to draw it.
    """

    def __init__(self, *, bar: bool) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._bars: Progress | None = None
        if bar and self._console.is_terminal:
            self._bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
        self._task: TaskID | None = None
        self._data: DataPlan | None = None
        self._outcome: TrainingOutcome | None = None
        self._columns: list[str] = []
        self._last: EpochReport | None = None
        self._started_s = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()
        if kind is not None and issubclass(kind, KeyboardInterrupt) and self._last is not None:
            self._say(f"Stopped after epoch {self._last.number}: the same command with --resume goes on.")

    def on_data(self, plan: DataPlan) -> None:
        """Say which videos are for what, and whether those held out can tell how well training goes."""
        self._data = plan
        self._say(f"Videos: {plan.num_train} to train on, {plan.num_val} to validate with")
        names = {name: name or _NO_EVENT for name in plan.videos_by_class}
        width = max(map(len, names.values()))
        for name, (train, val) in plan.videos_by_class.items():
            self._say(f"  {names[name]:<{width}}  {train:>6}  {val:>6}")
        if plan.cannot_choose is not None:
            self._say(f"The last epoch will be kept: {plan.cannot_choose}")

    def on_plan(self, plan: TrainingPlan) -> None:
        """Say what is trained, and where."""
        self._started_s = time.monotonic()
        going_on = f", going on after epoch {plan.num_done}" if plan.num_done else ""
        self._say(
            f"Training the {plan.recipe} recipe on {plan.device}: {plan.num_weights:,} weights, "
            f"{plan.num_epochs} epochs{going_on}"
        )
        if self._bars is not None:
            self._task = self._bars.add_task(
                f"epoch {plan.num_done + 1}", total=plan.num_epochs, completed=plan.num_done
            )
            self._bars.start()

    def on_step(self, epoch: int, done: int, total: int) -> None:
        """Move the bar."""
        if self._bars is not None and self._task is not None:
            self._bars.update(self._task, description=f"epoch {epoch}", completed=epoch - 1 + done / total)

    def on_epoch(self, report: EpochReport) -> None:
        """A line; the one before the first names the columns."""
        if self._last is None:
            self._columns = [name for name in _SHOWN if name in report.metrics]
            self._say("epoch" + "".join(f"{_SHOWN[name]:>{_WIDTH}}" for name in self._columns))
        self._last = report
        values = "".join(f"{report.metrics[name]:>{_WIDTH}.3f}" for name in self._columns)
        self._say(f"{report.number:>5}{values}{'  *' if report.is_best else ''}")

    def on_end(self, outcome: TrainingOutcome) -> None:
        """Keep what there is to say of the network."""
        self._outcome = outcome

    def show_outcome(self, *, features: bool) -> None:
        """Say where the checkpoint is, what is wrong with it, and what to do with it."""
        data, outcome = self._data, self._outcome
        if data is None or outcome is None:
            return  # not the first of several processes
        checkpoint = outcome.checkpoint
        if self._bars is not None:
            self._bars.stop()
        self._say(f"Trained in {show_duration(time.monotonic() - self._started_s)}: {checkpoint}")
        self._say(f"Kept: {f'the best epoch, {outcome.epoch}' if data.keeps_best else 'the last epoch'}")
        if outcome.flat_classes:
            self._say(
                f"Warning: the scores of {', '.join(outcome.flat_classes)} hardly differ, not even between the videos "
                "learned from with and without it: nothing was learned. It takes more videos, epochs or clearer labels."
            )
        what = "FEATURES.list" if features else "VIDEO"
        command = "evaluate calibrated/" if features else "score --bundle calibrated/"
        self._say(f"Next: avdetect export {checkpoint} -o mine/")
        self._say("      avdetect calibrate mine/ LIST --false-alarms-per-hour 1 -o calibrated/")
        self._say(f"      avdetect {command} {what}")

    def _say(self, text: str) -> None:
        self._console.print(printable(text), markup=False)
