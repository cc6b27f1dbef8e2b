"""The chat screen in a terminal, on Textual."""

from __future__ import annotations

import sys

from localmag.tui.app import SAVING_S, ChatApp
from localmag.tui.screens.chat import Label
from localmag.tui.worker import Conversation, Opener, Report

__all__ = ["Conversation", "Label", "Opener", "Report", "run"]


GREETING = "Ask something. What you write and what it answers stay on this machine."


def run(
    open_conversation: Opener,
    *,
    label: Label,
    offer: str | None = None,
    greeting: str = GREETING,
    theme: str | None = None,
    show_thinking: bool = True,
) -> int:
    """Show the chat until the user leaves; returns the exit code.

    `open_conversation(report)` is called in a thread, after the first paint: it opens the database, starts
    the engine and returns the conversation; it may `report` Loading events, also later and from any
    thread. If it raises, the error is shown, and it is called again with the next message. The conversation
    is used in that same thread only. With `offer`, a text that says how to get weights, the user is first
    asked whether to go on with the demo. `greeting` stands where nothing has been said yet. `theme` is the
    name of one of Textual's or ours; `show_thinking` False keeps the reasoning pane shut until it is opened.

    Raises WrongUsage for a theme that does not exist.
    """
    app = ChatApp(
        open_conversation, label, offer=offer, greeting=greeting, theme=theme, show_thinking=show_thinking
    )
    code = app.run()
    saved = app.chat.turns.close(SAVING_S)
    if not saved:
        sys.stderr.write("The engine did not stop in time; the reply is kept up to its last second.\n")
    if app.chat.turns.closing_error:
        sys.stderr.write(f"{app.chat.turns.closing_error}\n")
    if unsent := app.chat.unsent:
        sys.stderr.write(f"Not sent:\n{unsent}\n")
    if code is None and app.return_code:
        return app.return_code
    error = app.chat.error
    return error.exit_code if error else code or 0
