"""What the command line says against a command, without running it."""

from __future__ import annotations

import click

from rksearch.cli.main import cli


def refusal(words: tuple[str, ...], *, complete: bool) -> str | None:
    """What the command line says against a command that it parses without running it; None where nothing.

    Args:
        words: the command, `rksearch` first.
        complete: whether nothing may be missing; prose also names commands without their arguments.
    """
    own: click.Command = cli
    context: click.Context | None = None
    name, rest = "rksearch", list(words[1:])
    try:
        while True:
            missing = not rest and isinstance(own, click.Group)
            if missing:
                return "a command is missing" if complete else None
            context = own.make_context(name, rest, parent=context, resilient_parsing=False)
            if not isinstance(own, click.Group):
                return None
            found, next_one, rest = own.resolve_command(context, [*context._protected_args, *context.args])
            assert next_one is not None, "resolve_command raises where there is none"
            name, own = found or "", next_one
    except click.MissingParameter as error:
        return error.format_message() if complete else None
    except click.exceptions.Exit:
        return None  # --help
    except click.ClickException as error:
        return error.format_message()
