"""What the config file decides about the screen."""

from __future__ import annotations

import asyncio

import pytest

from localmag.errors import WrongUsage
from localmag.tui.app import ChatApp
from tests.tui.fakes import LABEL, ScriptedConversation


def test_a_theme_is_taken_by_its_name() -> None:
    app = ChatApp(ScriptedConversation().opener(), LABEL, theme="nord")
    assert app.theme == "nord"


def test_an_unknown_theme_is_refused_naming_those_there_are() -> None:
    with pytest.raises(WrongUsage, match="localmag-dark"):
        ChatApp(ScriptedConversation().opener(), LABEL, theme="nope")


@pytest.mark.parametrize("show", [True, False])
def test_the_reasoning_pane_starts_open_or_shut(show: bool) -> None:
    async def starts_shut() -> bool:
        app = ChatApp(ScriptedConversation().opener(), LABEL, show_thinking=show)
        async with app.run_test(size=(120, 30)) as pilot:
            await pilot.pause()
            return app.chat.pane.has_class("-collapsed")

    assert asyncio.run(starts_shut()) is not show
