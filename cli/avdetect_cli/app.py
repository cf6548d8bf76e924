"""The ``avdetect`` command: its sub-commands, and the one place where errors become exit codes.

    0    done
    1    some input failed, or a result could not be written
    2    misuse: an option or a combination of them that cannot be obeyed
    130  interrupted by Ctrl-C; 143 by SIGTERM, 129 by SIGHUP; what was finished is kept
    141  nobody reads standard output any more

Only the command that is named is imported (``lazy.py``), so that ``--help`` is instant. That is also why the help is
typer's plain one: drawing it with rich takes twice as long.
"""

from __future__ import annotations

import gc
import os
import sys
from collections import defaultdict
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from avdetect.errors import AvdetectError, UsageError, printable
from avdetect_cli.interrupts import exit_code_of, stop_on_signals
from avdetect_cli.lazy import Entry, LazyCommands
from avdetect_cli.terminal.stdout import FAILED, READER_GONE, ReaderGoneError, StdoutError, guard_stdout
from avdetect_cli.terminal.text import out, warn

__all__ = ["app", "main"]

_OBJECTS_BETWEEN_COLLECTIONS = 50_000
_DEBUG_VARIABLE = "AVDETECT_DEBUG"


class _Command(TyperCommand):
    """A command whose plain help lists its options under headings, as rich's help would."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        sections: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                kind = "Arguments" if parameter.param_type_name == "argument" else "Options"
                sections[getattr(parameter, "rich_help_panel", None) or kind].append(record)
        for heading in sorted(sections, key=lambda heading: heading == "Options"):  # the general ones last
            with formatter.section(heading):
                formatter.write_dl(sections[heading])


class _Group(TyperGroup):
    """A group that lists its commands without importing them."""

    def format_commands(self, _ctx: Any, formatter: Any) -> None:
        if isinstance(self.commands, LazyCommands):
            with formatter.section("Commands"):
                formatter.write_dl(self.commands.summaries())


def _group(name: str, summary: str, entries: dict[str, Entry]) -> TyperGroup:
    commands = LazyCommands(entries, _Command)
    group = _Group(name=name, help=summary, no_args_is_help=True, rich_markup_mode=None)
    group.commands = commands
    return group


_COMMANDS: dict[str, Entry | TyperGroup] = {
    "score": Entry("score:score", "Find the events of videos and sound files."),
    "events": Entry("score:events", "Decide events again from saved scores."),
    "query": Entry("query:query", "Find where in recordings something is heard, in your own words."),
    "index": Entry("query:index", "Hear recordings once, so that `avdetect query` answers at once."),
    "evaluate": Entry("evaluate:evaluate", "Measure how good a detector is."),
    "calibrate": Entry("evaluate:calibrate", "Fit probabilities and thresholds to an allowance of false alarms."),
    "watch": Entry("live:watch", "Watch one live source: what happens, as it happens."),
    "serve": Entry("live:serve", "Watch many live feeds: keep events with clips, send them on, show a page."),
    "demo": Entry("score:demo", "Score the real clip that ships with the package."),
    "extract": Entry("train:extract", "Make the embeddings of videos, those that the detector will see."),
    "train": Entry("train:train", "Train a detector for your own events, from videos that are labelled as a whole."),
    "train-sound": Entry(
        "train_sound:train_sound", "Train the encoder of sound on, on mixtures of sounds that have a class."
    ),
    "train-motion": Entry(
        "train:train_motion",
        "Train a motion encoder that knows people from shaking, on short clips that each show one thing.",
    ),
    "export": Entry("bundle:export", "Make a bundle: of a trained network, of words, or of both."),
    "import-checkpoint": Entry(
        "bundle:import_checkpoint",
        "Make a bundle of published MACIL-SD weights: the offline form, which scores features.",
    ),
    "compose": Entry(
        "train:compose",
        "Compose long recordings of short ones, in which it is known what happens when, to train or to measure with.",
    ),
    "train-text": Entry(
        "train:train_text", "Train an alignment of sound and text, from sounds with captions and recordings with texts."
    ),
    "evaluate-text": Entry(
        "evaluate:evaluate_text",
        "Measure how good an alignment is: retrieval, order, localisation, false finds and classes, as far as the "
        "list says.",
    ),
    "doctor": Entry("bundle:doctor", "Say what is installed, what is missing, how to get it."),
    "bundle": _group(
        "bundle",
        "Look into a model bundle, or check it.",
        {
            "show": Entry("bundle:show", "Show what a bundle is: classes and their rules, graphs, latency, origins."),
            "verify": Entry("bundle:verify", "Check every file of a bundle against the size and hash in its manifest."),
        },
    ),
    "labels": _group(
        "labels",
        "What was confirmed and dismissed on the page.",
        {
            "export": Entry(
                "live:export_labels", "Make a list to train from of the events that were confirmed and dismissed."
            )
        },
    ),
    "config": _group(
        "config",
        "Begin a configuration of `serve`, or check it.",
        {
            "init": Entry("live:init", "Write a configuration with every setting explained."),
            "check": Entry("live:check", "Say what is wrong with a configuration, or what it comes to."),
        },
    ),
}


class _Cli(_Group):
    """All commands; turns every error into a sentence on stderr and an exit code."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = LazyCommands(_COMMANDS, _Command)

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # what cannot be written shows here at the latest
            return result
        except (typer.Exit, typer.Abort):
            raise
        except UsageError as error:
            raise _stop(str(error), 2) from error
        except ReaderGoneError as error:  # who left knows it
            raise typer.Exit(READER_GONE) from error
        except AvdetectError as error:
            raise _stop(str(error), FAILED) from error
        except KeyboardInterrupt as error:
            raise _stop("interrupted.", exit_code_of(error)) from error
        except Exception as error:
            if type(error).__module__.partition(".")[0] in ("typer", "click"):  # misuse, which typer explains itself
                if isinstance(message := getattr(error, "message", None), str):
                    error.message = printable(message)  # type: ignore[attr-defined]
                raise
            raise _bug(error, ctx) from error


def _stop(message: str, code: int) -> typer.Exit:
    warn(message)
    return typer.Exit(code)


def _bug(error: Exception, ctx: Any) -> Exception:
    """Give what to raise for an error that nobody foresaw: itself for who debugs, a short message for all others."""
    if ctx.params.get("debug") or os.environ.get(_DEBUG_VARIABLE):
        return error
    return _stop(
        f"internal error ({type(error).__name__}: {printable(str(error))}). This is a bug in avdetect: please report "
        f"it with what `avdetect --debug {ctx.invoked_subcommand} ...` and `avdetect doctor` print.",
        FAILED,
    )


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # takes longer than help itself

        out(f"avdetect {version('avdetect')}")
        raise typer.Exit


_EXAMPLES = """\b
Examples:
  avdetect demo                 score the clip that ships with the package
  avdetect score video.mp4      find events; avdetect score --help says more
  avdetect query videos/ "glass breaks"
                                find what you can tell in words
  avdetect doctor               what is installed, what is missing
"""

app = typer.Typer(
    name="avdetect",
    cls=_Cli,
    help="Find events in video with sound: when, how sure, and whether they were heard or seen.",
    epilog=_EXAMPLES,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _common(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and leave."),
    ] = False,
    debug: Annotated[  # read by _bug()
        bool, typer.Option("--debug", help=f"Show the traceback of internal errors (or set {_DEBUG_VARIABLE}=1).")
    ] = False,
) -> None:
    if debug:
        os.environ[_DEBUG_VARIABLE] = "1"  # for the threads that score


def main() -> None:
    """The console script."""
    # Imports make some hundred thousand objects, which stay: looking through them every 700 is a tenth of a short run.
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    guard_stdout()
    if sys.argv[1:2] != ["serve"]:  # a service takes its signals as orders: SIGHUP does not end it
        stop_on_signals()
    try:
        try:
            app()
        finally:
            sys.stdout.flush()  # also of help, which is printed before a command is invoked
    except ReaderGoneError:
        sys.exit(READER_GONE)
    except StdoutError as error:
        warn(str(error))
        sys.exit(FAILED)
    except KeyboardInterrupt as error:
        sys.exit(exit_code_of(error))
