"""How the cost of a token grows with what is on the screen: `python -m tests.tui.flat`.

The same 20,000 tokens are streamed as reasoning, as prose, as one code fence and as one list, in frames
of 50; printed is the processor time per frame in each quarter, and the last as a multiple of the first.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from localmag.tui.app import ChatApp
from localmag.tui.reply import Reply
from localmag.types import Event, TextDelta, ThinkingDelta
from tests.tui.fakes import app_of, until

FRAME = 50

STREAMS: dict[str, Callable[[int], Event]] = {
    "reasoning": lambda n: ThinkingDelta("step" + (".\n" if n % 20 == 19 else " ")),
    "one line of reasoning": lambda n: ThinkingDelta("step "),
    "prose": lambda n: TextDelta("word" + ("**bold**.\n\n" if n % 30 == 29 else " ")),
    "one paragraph": lambda n: TextDelta("word "),
    "one code fence": lambda n: TextDelta(
        "```python\n" if n == 0 else "x = 1" + ("\n" if n % 8 == 7 else "; ")
    ),
    "one list": lambda n: TextDelta("- item " if n % 12 == 0 else "\n" if n % 12 == 11 else "word "),
}


async def streamed(
    app: ChatApp,
    event_at: Callable[[int], Event],
    tokens: int,
    cost: Callable[[], float],
    paint: Callable[[], Awaitable[object]],
) -> list[float]:
    """Stream into the running app; returns how much `cost` grew per frame, by quarter."""
    chat = app.chat
    reply = Reply("Go on.")
    chat.replies.append(reply)
    chat.current = reply
    chat.transcript.add([reply], 0.0)
    chat._choose(reply)
    quarters: list[float] = []
    frames = tokens // FRAME // 4
    for quarter in range(4):
        start = cost()
        for frame in range(frames):
            for n in range(FRAME):
                reply.fold(event_at((quarter * frames + frame) * FRAME + n), 1.0)
            chat.draw()
            await paint()
        quarters.append((cost() - start) / frames)
    chat.current = None
    return quarters


async def growth(name: str, tokens: int, cost: Callable[[], float] = time.process_time) -> list[float]:
    app = app_of()
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot.pause, lambda: app.chat.opened)
        return await streamed(app, STREAMS[name], tokens, cost, lambda: pilot.pause(0))


if __name__ == "__main__":
    for name in STREAMS:
        costs = asyncio.run(growth(name, 20_000))
        times = "  ".join(f"{cost * 1000:6.2f}" for cost in costs)
        print(f"{name:24} ms per frame of {FRAME}: {times}   x{costs[3] / costs[0]:.2f}")  # noqa: T201
