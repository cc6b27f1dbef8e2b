"""The commands, gathered. Each lives in a file of its own."""

from __future__ import annotations

from typing import Annotated

import typer

from localmag import __version__
from localmag.cli import ask, chat, listing, pull, sessions

app = typer.Typer(
    help="Run Mistral's Magistral reasoning models on your own machine, the thinking beside the answer.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
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


app.command("chat")(chat.chat)
app.command("ask")(ask.ask)
app.command("pull")(pull.pull)
app.command("list")(listing.list_)
app.command("show")(listing.show)
app.command("rm")(listing.rm)
app.add_typer(sessions.app, name="sessions")
