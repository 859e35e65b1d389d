"""The `rksearch` command: its subcommands, and how errors reach the user."""

from __future__ import annotations

import errno
import io
import os
import sys
import traceback
from typing import Any

import click

from rksearch import __version__
from rksearch.cli.architecture import describe, train
from rksearch.cli.bench import bench
from rksearch.cli.catalogue import families, paper
from rksearch.cli.compare import compare
from rksearch.cli.data import data
from rksearch.cli.exits import EXIT_INTERRUPTED
from rksearch.cli.network_export import export
from rksearch.cli.output import let_go_of_output, show
from rksearch.cli.recipe import recipe
from rksearch.cli.runs import final, report, resume, retrain, run, status
from rksearch.cli.selftest import selftest
from rksearch.cli.space import space
from rksearch.errors import FREE_MEMORY, RksearchError, coded, in_one_line, is_short_of_memory, shortened

TRACEBACK = "RKSEARCH_TRACEBACK"
"""Environment variable: set, errors are shown with the traceback: whoever writes a plugin needs it."""


class Commands(click.Group):
    """The commands, none of which a user's code ends in silence, as `sys.exit` would."""

    def invoke(self, ctx: click.Context) -> Any:
        """Call the command that is asked for."""
        try:
            return super().invoke(ctx)
        except (SystemExit, GeneratorExit) as error:
            if isinstance(error.__context__, BrokenPipeError):
                raise  # rich ends the program where a pipe has closed
            _report(error, f"code of a plugin or a library has ended the program; set {TRACEBACK}=1 to see where")
            ctx.exit(1)


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with: rksearch run --space quickstart",
)
@click.version_option(__version__, prog_name="rksearch")
def cli() -> None:
    """Search and benchmark Runge-Kutta convolutional networks.

    A run trains networks of a search space beside DenseNet and ResNet baselines, all by one recipe, and reports the
    Pareto front of error against size.
    """


for command in (
    run,
    resume,
    retrain,
    final,
    status,
    report,
    compare,
    space,
    recipe,
    describe,
    train,
    export,
    data,
    families,
    paper,
    bench,
    selftest,
):
    cli.add_command(command)


def main() -> None:
    """Run the command line; errors are one line on standard error, exit code 2 for bad input and 1 for other causes."""
    _prepare_streams()
    try:
        code = cli.main(prog_name="rksearch", standalone_mode=False)
    except click.ClickException as error:
        _show(error)
        sys.exit(error.exit_code)
    except RksearchError as error:
        _trace(error)
        _say(str(error))
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        show("rksearch: interrupted", stderr=True)
        sys.exit(EXIT_INTERRUPTED)
    except (OSError, MemoryError, RecursionError) as error:
        if isinstance(error, OSError):
            let_go_of_output()
        if isinstance(error, BrokenPipeError):
            sys.exit(1)
        _report(error, _remedy(error))
        too_long = isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG
        sys.exit(2 if too_long else 1)
    except Exception as error:  # noqa: BLE001 - the last resort: a user sees one line, a developer asks for more
        ours = f"this is a fault of rksearch; set {TRACEBACK}=1 to see where it arose, and report it"
        _report(error, FREE_MEMORY if is_short_of_memory(error) else ours)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def _remedy(error: OSError | MemoryError | RecursionError) -> str:
    if is_short_of_memory(error):
        return FREE_MEMORY
    return "correct the path, or make room" if _has_working_directory() else "change to a directory that exists"


def _has_working_directory() -> bool:
    """Whether the directory in which the command was given is still there."""
    try:
        return bool(os.getcwd())
    except OSError:
        return False


def _report(error: BaseException, remedy: str) -> None:
    """Print an exception that no command foresaw, in one line; with its traceback where the user asks for that."""
    _trace(error)
    _say(f"{in_one_line(error)}; {remedy}")


def _trace(error: BaseException) -> None:
    if os.environ.get(TRACEBACK):
        traceback.print_exception(error)


def _prepare_streams() -> None:
    """Make sure that standard streams are open, and that each text can be written to them.

    Where one is closed (`>&-`), the next file that is opened would take its place, and what others print would land in
    it. An encoding without a letter, or a path that is no text, must cost no command: it is shown by its code.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _show(error: click.ClickException) -> None:
    """Print an error of the command line in one line, or the help of a command group that was called alone."""
    message = error.format_message()
    if type(error).__name__ == "NoArgsIsHelpError":
        show(message, stderr=True)
        return
    context = error.ctx if isinstance(error, click.UsageError) else None
    remedy = f"; see `{context.command_path} --help`" if context else ""
    _say(f"{shortened(' '.join(message.split()).rstrip('.'))}{remedy}")


def _say(message: str) -> None:
    """Print an error as one line; what it quotes, from a ledger of others too, is no command to a terminal."""
    show(f"rksearch: {coded(' '.join(message.split()))}", stderr=True)
