"""Draws the README's picture: the real screen, the demo model's real replies.

python -m tools.screenshot docs/screen.svg
"""

from __future__ import annotations

import asyncio
import re
import sys
from contextlib import ExitStack
from pathlib import Path

from localmag import store
from localmag.chat import Conversation
from localmag.engines import EngineSpec
from localmag.engines.host import HostedEngine
from localmag.prompt import system_message
from localmag.sessions import Setup
from localmag.tui import Label, Report
from localmag.tui.app import ChatApp
from localmag.types import Cancel, Sampling

QUESTIONS = ("What is 478 + 356?", "Et maintenant, ajoute 12.", "Which is larger, 9.11 or 9.8?")
SIZE = (116, 34)  # columns, rows
WEB_FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)  # a picture of ours fetches nothing


async def draw(out: Path) -> None:
    found = store.locate("demo")
    assert found.system_prompt
    with ExitStack() as things:

        def conversation(report: Report, cancel: Cancel) -> Conversation:
            engine = HostedEngine(EngineSpec("llama.cpp", found.weights, found.tokenizer, found.context))
            things.callback(engine.close)
            setup = Setup(found.model, found.build, "llama.cpp", Sampling(0.0), found.max_tokens)
            assert found.system_prompt
            system = system_message(found.system_prompt.read_text("utf-8"))
            return Conversation.new(None, engine, setup, system=system)

        app = ChatApp(conversation, Label(found.title, found.build, "llama.cpp", found.context))
        async with app.run_test(size=SIZE) as pilot:
            for question in QUESTIONS:
                app.chat.composer.text = question
                await pilot.press("enter")
                await pilot.pause(0.2)
                while app.chat.current is not None:
                    await pilot.pause(0.1)
            await pilot.pause(0.5)
            svg = app.export_screenshot(title="localmag chat")
            out.write_text(WEB_FONT.sub("", svg), encoding="utf-8")
        app.chat.turns.close(5)


if __name__ == "__main__":
    asyncio.run(draw(Path(sys.argv[1])))
