"""The chat screen in a terminal, on Textual."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress

from localmag.tui.app import NOT_STOPPED, SAVING_S, ChatApp
from localmag.tui.getting.offers import Models, Offer, Sight, Wish
from localmag.tui.opening import Chats, Label, Opening
from localmag.tui.worker import Conversation, Doing, Fitted, Opener, Report

__all__ = [
    "Chats",
    "Conversation",
    "Doing",
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
    chats: Chats | None = None,
    first_run: bool = False,
    theme: str | None = None,
    show_thinking: bool | None = None,
    afterwards: Callable[[], None] | None = None,
) -> int:
    """Show the chat until the user leaves; returns the exit code.

    `opening.open(report, cancel)` is called in a thread, after the first paint: it opens the database, starts
    the engine and returns the conversation; it may `report` Loading events, also later and from any
    thread. If it raises, the error is shown, and it is called again with the next message. The conversation
    is used by one thread at a time: that one, then that which opens another in its place, at the end the
    caller's, in `afterwards`. That is called with the user's own screen back, but not where the exit code is
    not 0 or a thread did not end in time. With `models` others can be fetched and opened from within the
    chat, on a `first_run` that comes first; with `chats` others can be begun or gone on with there. `theme`
    is the name of one of Textual's or ours; `show_thinking` False keeps the reasoning pane shut until it is
    opened; None has it as it was left.

    Raises WrongUsage for a theme that does not exist.
    """
    app = ChatApp(
        opening.open,
        opening.label,
        models=models,
        chats=chats,
        first_run=first_run,
        greeting=opening.greeting or GREETING,
        invitation=opening.invitation,
        theme=theme,
        show_thinking=show_thinking,
    )
    try:
        code = app.run()
    finally:  # also where a signal ends it
        ended = _close(app)
    if code is None and app.return_code:
        return app.return_code
    error = app.chat.error
    code = error.exit_code if error else code or 0
    if afterwards and ended and not code:
        afterwards()
    return code


def _close(app: ChatApp) -> bool:
    """Save what is not saved yet, and say what the user should know of it. False if it took too long."""
    turns = app.chat.turns
    news = []
    ended = turns.close(SAVING_S, app.chat.unsent)
    if not ended and turns.replying:
        news.append(NOT_STOPPED)
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
    return ended
