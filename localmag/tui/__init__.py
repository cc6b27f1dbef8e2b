"""The chat screen in a terminal, on Textual."""

from __future__ import annotations

import sys
from contextlib import suppress

from localmag.tui.app import SAVING_S, ChatApp
from localmag.tui.getting.offers import Models, Offer, Sight, Wish
from localmag.tui.opening import Label, Opening
from localmag.tui.worker import Conversation, Fitted, Opener, Report

__all__ = [
    "Conversation",
    "Fitted",
    "Label",
    "Models",
    "Offer",
    "Opener",
    "Opening",
    "Report",
    "Sight",
    "Wish",
    "run",
]

PULL_S = 3.0
"""Seconds to wait at the end for a pull to notice that it is over."""
GREETING = "Ask something. What you write and what it answers stay on this machine."


def run(
    opening: Opening,
    *,
    models: Models | None = None,
    first_run: bool = False,
    theme: str | None = None,
    show_thinking: bool | None = None,
) -> int:
    """Show the chat until the user leaves; returns the exit code.

    `opening.open(report)` is called in a thread, after the first paint: it opens the database, starts
    the engine and returns the conversation; it may `report` Loading events, also later and from any
    thread. If it raises, the error is shown, and it is called again with the next message. The conversation
    is used in that same thread only. With `models` others can be fetched and opened from within the chat; on
    a `first_run` that comes first. `theme` is the name of one of Textual's or ours; `show_thinking`
    False keeps the reasoning pane shut until it is opened; None has it as it was left.

    Raises WrongUsage for a theme that does not exist.
    """
    app = ChatApp(
        opening.open,
        opening.label,
        models=models,
        first_run=first_run,
        greeting=opening.greeting or GREETING,
        theme=theme,
        show_thinking=show_thinking,
    )
    try:
        code = app.run()
    finally:  # also where a signal ends it
        _close(app)
    if code is None and app.return_code:
        return app.return_code
    error = app.chat.error
    return error.exit_code if error else code or 0


def _close(app: ChatApp) -> None:
    """Save what is not saved yet, and say what the user should know of it."""
    turns = app.chat.turns
    news = []
    if not turns.close(SAVING_S, app.chat.unsent):
        news.append("The engine did not stop in time; the reply is kept up to its last second.")
    if app.getting and (told := app.getting.close(PULL_S)):
        news.append(told)
    if turns.closing_error:
        news.append(str(turns.closing_error))
    if turns.unsent and turns.kept_in is None:
        news.append(f"Not sent:\n{turns.unsent}")
    elif turns.unsent:
        again = f"localmag chat --resume {turns.kept_in}" if turns.kept_in else "localmag chat"
        news.append(f"What you had not sent is kept: `{again}` brings it back.")
    with suppress(OSError):  # the terminal may have gone
        for line in news:
            sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
