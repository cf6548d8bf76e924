"""The ``avdetect`` command: its sub-commands, and the one place where errors become exit codes.

    0    done
    1    some input failed, or a result could not be written
    2    misuse: an option or a combination of them that cannot be obeyed
    130  interrupted; what was finished is kept

Nothing heavy is imported here or at the top of a command's module, so that ``--help`` is instant. That is also why
the help is typer's plain one: drawing it with rich takes twice as long.
"""

from __future__ import annotations

import gc
import os
import sys
from collections import defaultdict
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command_name
from typer.models import CommandInfo

from avdetect.errors import AvdetectError, UsageError
from avdetect_cli.commands.bundle import show, verify
from avdetect_cli.commands.calibrate import calibrate
from avdetect_cli.commands.compose import compose
from avdetect_cli.commands.config import check, init
from avdetect_cli.commands.demo import demo
from avdetect_cli.commands.doctor import doctor
from avdetect_cli.commands.evaluate import evaluate
from avdetect_cli.commands.evaluate_text import evaluate_text
from avdetect_cli.commands.events import events
from avdetect_cli.commands.export import export, import_checkpoint
from avdetect_cli.commands.extract import extract
from avdetect_cli.commands.index import index
from avdetect_cli.commands.labels import export_labels
from avdetect_cli.commands.query import query
from avdetect_cli.commands.score import score
from avdetect_cli.commands.serve import serve
from avdetect_cli.commands.train import train
from avdetect_cli.commands.train_text import train_text
from avdetect_cli.commands.watch import watch

__all__ = ["app", "main"]

_INTERRUPTED = 130
_BROKEN_PIPE = 141  # what a shell reports of a program that SIGPIPE ended
_OBJECTS_BETWEEN_COLLECTIONS = 50_000
_DEBUG_VARIABLE = "AVDETECT_DEBUG"


class _Cli(TyperGroup):
    """Turns every error into a sentence on stderr and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # a broken pipe shows here at the latest
            return result
        except (typer.Exit, typer.Abort):
            raise
        except UsageError as error:
            raise _stop(str(error), 2) from error
        except AvdetectError as error:
            raise _stop(str(error), 1) from error
        except KeyboardInterrupt as error:
            raise _stop("interrupted.", _INTERRUPTED) from error
        except BrokenPipeError as error:
            _silence_stdout()
            raise typer.Exit(_BROKEN_PIPE) from error
        except Exception as error:
            if type(error).__module__.partition(".")[0] in ("typer", "click"):  # misuse, which typer explains itself
                raise
            raise _bug(error, ctx) from error


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


def _stop(message: str, code: int) -> typer.Exit:
    typer.echo(f"avdetect: {message}", err=True)
    return typer.Exit(code)


def _bug(error: Exception, ctx: Any) -> Exception:
    """What to raise for an error that nobody foresaw: itself for who debugs, a short message for all others."""
    if ctx.params.get("debug") or os.environ.get(_DEBUG_VARIABLE):
        return error
    return _stop(
        f"internal error ({type(error).__name__}: {error}). This is a bug in avdetect: please report it with what "
        f"`avdetect --debug {ctx.invoked_subcommand} ...` and `avdetect doctor` print.",
        1,
    )


def _silence_stdout() -> None:
    """Who read our output has left: let the interpreter's own last flush go nowhere instead of complaining."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"avdetect {version('avdetect')}")
        raise typer.Exit


_EXAMPLES = """\b
Examples:
  avdetect demo                 score the clip that ships with the package
  avdetect score video.mp4      find events; avdetect score --help says more
  avdetect query videos/ "glass breaks"
                                find what you can tell in words
  avdetect doctor               what is installed, what is missing
"""

_EXAMPLES_OF_SCORE = """\b
Examples:
  avdetect score video.mp4
  avdetect score video.mp4 --report video.html
  avdetect score videos/ --jobs 2 --format csv -o events.csv
  avdetect score "cam*/**/*.mkv" --json --quiet > results.jsonl
  avdetect score video.mp4 --threshold 0.6 --threshold gunshot=0.4
  avdetect score video.mp4 --scores video.npz
  ffmpeg -i rtsp://camera/1 -t 60 -c copy -f mpegts - | avdetect score -

Exit codes: 0 done, 1 some input failed, 2 misuse, 130 interrupted.
"""

_EXAMPLES_OF_EVENTS = """\b
Examples:
  avdetect score video.mp4 --scores video.npz
  avdetect events video.npz --threshold 0.3 --merge-gap 3
  avdetect events video.npz --classes siren,crash --format srt -o video.srt
"""

_EXAMPLES_OF_INDEX = """\b
Examples:
  avdetect index videos/
  avdetect index cam1/ cam2/ -o footage.index --jobs 2
  avdetect query videos/ "glass breaks"
"""

_EXAMPLES_OF_QUERY = """\b
Examples:
  avdetect query videos/ "glass breaks"
  avdetect query footage.index "a dog barks, then glass breaks" --order --within 1:00
  avdetect query videos/ "$(cat story.txt)" --report found.html
  avdetect query videos/ "a siren" --json | jq .places

Nothing found is an answer too (exit code 0), and says how near the best came.
"""

_EXAMPLES_OF_EVALUATE = """\b
Examples:
  avdetect evaluate bundle/ val.jsonl --page val.html --scores val.npz
  avdetect evaluate val.npz val.jsonl --bundle bundle/ --json
"""

_EXAMPLES_OF_CALIBRATE = """\b
Examples:
  avdetect calibrate bundle/ val.jsonl --false-alarms-per-hour 1 -o calibrated/
"""

_EXAMPLES_OF_TRAIN = """\b
Examples:
  avdetect train videos/ -o run/              a folder per class, one of them called normal
  avdetect train train.csv --val val.csv -o run/
  avdetect train train.csv -o run/ --set recipe.epochs=30 --resume
  avdetect export run/checkpoint.safetensors -o mine/
  avdetect score video.mp4 --bundle mine/
"""

_EXAMPLES_OF_WATCH = """\b
Examples:
  avdetect watch rtsp://camera/stream
  avdetect watch 'rtsp://${USER_NAME}:${PASSWORD}@camera/stream' --clips clips/
  avdetect watch video.mp4 --realtime
  avdetect watch /dev/video0 --input-format v4l2
  arecord -t raw -f S16_LE -r 16000 | avdetect watch - --input-format s16le --audio-rate 16000 --json
"""

_EXAMPLES_OF_COMPOSE = """\b
Examples:
  avdetect compose sounds.jsonl -o tracks/
  avdetect compose sounds.jsonl -o tracks/ --split val --tracks 100 --duration 60 --sounds 3 --seed 1
"""

_EXAMPLES_OF_TRAIN_TEXT = """\b
Examples:
  avdetect train-text sounds.jsonl -o run/
  avdetect train-text sounds.jsonl -o run/ --leave-out siren,glass --set recipe.stage_a_steps=1000
"""

_EXAMPLES_OF_EVALUATE_TEXT = """\b
Examples:
  avdetect evaluate-text run/alignment.safetensors tracks/tracks.jsonl
  avdetect evaluate-text bundle/ sounds.jsonl --prompts prompts.json --json
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
    if sys.stdout is not None and hasattr(sys.stdout, "reconfigure"):
        # A file name that the terminal's encoding lacks is shown escaped, as stderr does by itself.
        sys.stdout.reconfigure(errors="backslashreplace")
    if debug:
        os.environ[_DEBUG_VARIABLE] = "1"  # for the threads that score


app.command(cls=_Command, epilog=_EXAMPLES_OF_SCORE, no_args_is_help=True)(score)
app.command(cls=_Command, epilog=_EXAMPLES_OF_EVENTS, no_args_is_help=True)(events)
app.command(cls=_Command, epilog=_EXAMPLES_OF_QUERY, no_args_is_help=True)(query)
app.command(cls=_Command, epilog=_EXAMPLES_OF_INDEX, no_args_is_help=True)(index)
app.command(cls=_Command, epilog=_EXAMPLES_OF_EVALUATE, no_args_is_help=True)(evaluate)
app.command(cls=_Command, epilog=_EXAMPLES_OF_CALIBRATE, no_args_is_help=True)(calibrate)
app.command(cls=_Command, epilog=_EXAMPLES_OF_WATCH, no_args_is_help=True)(watch)
app.command(cls=_Command, no_args_is_help=True)(serve)
app.command(cls=_Command)(demo)
app.command(cls=_Command)(extract)
app.command(cls=_Command, epilog=_EXAMPLES_OF_TRAIN, no_args_is_help=True)(train)
app.command(cls=_Command)(export)
app.command("import-checkpoint", cls=_Command)(import_checkpoint)
app.command(cls=_Command, epilog=_EXAMPLES_OF_COMPOSE, no_args_is_help=True)(compose)
app.command("train-text", cls=_Command, epilog=_EXAMPLES_OF_TRAIN_TEXT, no_args_is_help=True)(train_text)
app.command("evaluate-text", cls=_Command, epilog=_EXAMPLES_OF_EVALUATE_TEXT, no_args_is_help=True)(evaluate_text)
app.command(cls=_Command)(doctor)

_bundle = typer.Typer(help="Look into a model bundle, or check it.", rich_markup_mode=None, no_args_is_help=True)
_bundle.command(cls=_Command)(show)
_bundle.command(cls=_Command)(verify)
app.add_typer(_bundle, name="bundle")

_labels = typer.Typer(help="What was confirmed and dismissed on the page.", rich_markup_mode=None, no_args_is_help=True)
_labels.command("export", cls=_Command)(export_labels)
app.add_typer(_labels, name="labels")

_config = typer.Typer(
    help="Begin a configuration of `serve`, or check it.", rich_markup_mode=None, no_args_is_help=True
)
_config.command(cls=_Command)(init)
_config.command(cls=_Command)(check)
app.add_typer(_config, name="config")


def main() -> None:
    """The console script."""
    # Imports make some hundred thousand objects, which stay: looking through them every 700 is a tenth of a short run.
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    _leave_out_all_but(sys.argv[1:2])
    app()


def _leave_out_all_but(names: Sequence[str]) -> None:
    """Where one command is named, do not let typer build the others: that takes 3 ms each."""
    command = [entry for entry in app.registered_commands if _name_of(entry) in names]
    group = [entry for entry in app.registered_groups if entry.name in names]
    if command or group:
        app.registered_commands, app.registered_groups = command, group


def _name_of(command: CommandInfo) -> str:
    """As typer calls it."""
    return command.name or get_command_name(command.callback.__name__ if command.callback else "")
