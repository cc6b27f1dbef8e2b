"""What the config file decides about the screen."""

from __future__ import annotations

import threading

import pytest

from localmag import paths, tui
from localmag.errors import WrongUsage
from localmag.tui.app import ChatApp
from localmag.tui.opening import Opening
from localmag.tui.screens.chat import ChatScreen
from tests.tui.driving import running
from tests.tui.fakes import LABEL, ScriptedConversation


def test_a_theme_is_taken_by_its_name() -> None:
    app = ChatApp(ScriptedConversation().opener(), LABEL, theme="nord")
    assert app.theme == "nord"


def test_an_unknown_theme_is_refused_naming_those_there_are() -> None:
    with pytest.raises(WrongUsage, match=r"no theme 'nope'.*localmag-dark"):
        ChatApp(ScriptedConversation().opener(), LABEL, theme="nope")


async def starts_open(width: int = 120, *keys: str, show: bool | None = None) -> bool:
    """Whether the reasoning pane does; then these keys are pressed."""
    app = ChatApp(ScriptedConversation().opener(), LABEL, show_thinking=show)
    async with app.run_test(size=(width, 30)) as pilot:
        await pilot.pause()
        shut = app.chat.pane.has_class("-collapsed")
        await pilot.press(*keys)
        app.chat.turns.close(20)
        return not shut


@pytest.mark.parametrize("show", [True, False])
async def test_the_reasoning_pane_starts_open_or_shut(show: bool) -> None:
    assert await starts_open(show=show) is show


async def test_the_reasoning_pane_starts_as_it_was_left_unless_the_config_says_how() -> None:
    assert await starts_open(120, "ctrl+t")
    assert not await starts_open()
    assert await starts_open(show=True)
    assert not await starts_open(120, "ctrl+t")  # as it would by itself: nothing to remember
    assert await starts_open()
    assert not await starts_open(80, "ctrl+t")
    assert await starts_open(80)


async def test_a_memory_that_cannot_be_read_is_none() -> None:
    for content in (b"", b"[]", b"\xff", b'{"reasoning_open": 3}'):
        (paths.data() / "screen.json").write_bytes(content)
        assert await starts_open()


# ── The end ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("hangs", [True, False])
def test_what_is_to_be_done_afterwards_is_left_where_a_thread_still_has_the_conversation(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], hangs: bool
) -> None:
    release, done = threading.Event(), list[str]()

    class Slow(ScriptedConversation):
        def close(self) -> None:
            release.wait(30)

    def shown_and_left(app: ChatApp) -> int:
        app.chat.turns._wake = lambda: None  # no loop runs that could be woken
        app.chat.turns.start()
        return 0

    talk = Slow() if hangs else ScriptedConversation()
    monkeypatch.setattr(ChatApp, "run", shown_and_left)
    monkeypatch.setattr(ChatScreen, "unsent", "")
    monkeypatch.setattr(tui, "SAVING_S", 0.1 if hangs else 20)
    assert tui.run(Opening(talk.opener(), LABEL), afterwards=lambda: done.append("kept")) == 0
    release.set()
    assert done == ([] if hangs else ["kept"])
    assert capsys.readouterr().err == ""  # there was no reply that could have been cut short


async def test_brackets_in_what_is_told_are_no_markup() -> None:
    async with running(ChatApp(ScriptedConversation().opener(), LABEL)) as it:
        it.chat.notify("Could not read [/tmp/x]: [Errno 13].")
        await it.shown("Could not read [/tmp/x]: [Errno 13].")
