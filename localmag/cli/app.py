"""The commands, gathered. Each lives in a file of its own, imported when it is the one that was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from localmag import __version__
from localmag.errors import WrongUsage

_HOMES = {
    "chat": ("chat", "chat"),
    "ask": ("ask", "ask"),
    "pull": ("pull", "pull"),
    "list": ("listing", "list_"),
    "show": ("listing", "show"),
    "import": ("listing", "import_"),
    "rm": ("listing", "rm"),
    "fit": ("fit", "fit_"),
    "sessions": ("sessions", "app"),
    "doctor": ("doctor", "doctor"),
    "bench": ("bench", "bench"),
}
"""Command → its file in this folder, and its function (or group) there."""

_ELSEWHERE = {
    "run": "chat",
    "generate": "ask",
    "get": "pull",
    "download": "pull",
    "ls": "list",
    "info": "show",
    "delete": "rm",
    "remove": "rm",
}
"""What other programs of this kind call it → the command here."""

_UsageError: Any = typer.BadParameter.__base__  # click's or typer's own, by typer's version
_PLAINER = (("a valid int range", "a whole number"), ("a valid float range", "a number"))
_PLAIN: dict[str, Any] = {"rich_markup_mode": None, "pretty_exceptions_enable": False}


class Commands(TyperGroup):
    """Imports a command's file when it is called or listed, so that chat does not wait for pull's imports."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.commands: Any = dict.fromkeys(_HOMES)  # whose names alone are read, where one is misspelt

    def list_commands(self, ctx: Any) -> list[str]:
        return list(_HOMES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in _HOMES:
            return None
        file, name = _HOMES[cmd_name]
        found = getattr(import_module(f"localmag.cli.{file}"), name)
        if not isinstance(found, typer.Typer):
            alone = typer.Typer(add_completion=False, **_PLAIN)
            alone.command(cmd_name)(found)
            found = alone
        command = typer.main.get_command(found)
        command.name = cmd_name
        return command

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and (here := _ELSEWHERE.get(args[0])):
            ctx.fail(f"No such command '{args[0]}'. Did you mean '{here}'?")
        return super().resolve_command(ctx, args)

    def make_context(self, *words: Any, **given: Any) -> Any:
        with _two_sentences():
            return super().make_context(*words, **given)

    def invoke(self, ctx: Any) -> Any:
        with _two_sentences(ctx):
            return super().invoke(ctx)


@contextmanager
def _two_sentences(ctx: Any = None) -> Iterator[None]:
    """Raises WrongUsage for typer's own; the help that it shows where no command is named stays that."""
    try:
        yield
    except _UsageError as exc:
        if type(exc).__name__ == "NoArgsIsHelpError":
            raise
        what = exc.format_message()
        for theirs, plain in _PLAINER:
            what = what.replace(theirs, plain)
        named = " ".join(filter(None, ("localmag", ctx and ctx.invoked_subcommand)))
        command = exc.ctx.command_path if exc.ctx else named  # of an option's value it does not say whose
        todo = f"Run `{command} --help` to see what it takes."
        if command.endswith(" ask") and "unexpected extra argument" in what:
            todo = 'Put the question in quotes, as in `localmag ask demo "What is 478 + 356?"`.'
        raise WrongUsage(what if what.endswith((".", "?")) else f"{what}.", todo) from exc


app = typer.Typer(
    help="Run Mistral's Magistral reasoning models on your own machine, the thinking beside the answer.",
    cls=Commands,
    epilog="Start with `localmag chat`. `localmag COMMAND --help` tells more of each.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    **_PLAIN,
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"localmag {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass
