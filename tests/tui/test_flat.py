"""A token's work does not grow with the reply, counted in what is wrapped, parsed and drawn."""

from __future__ import annotations

from typing import Any

import pytest

from localmag.tui import wrap
from localmag.tui.markdown import Renderer
from localmag.tui.widgets.lines import Lines
from tests.tui.flat import STREAMS, growth

pytestmark = pytest.mark.timeout(180)


@pytest.mark.parametrize("stream", STREAMS)
async def test_the_last_quarter_costs_what_the_first_does(
    stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = 0

    def counted(function: Any, amount: Any) -> Any:
        def call(*args: Any, **rest: Any) -> Any:
            nonlocal work
            work += amount(*args)
            return function(*args, **rest)

        return call

    monkeypatch.setattr(wrap, "wrap", counted(wrap.wrap, lambda line, width: len(line)))
    monkeypatch.setattr(
        Renderer, "rows", counted(Renderer.rows, lambda self, block, *rest: len(block.source))
    )
    monkeypatch.setattr(Lines, "render_line", counted(Lines.render_line, lambda self, y: self.size.width))
    costs = await growth(stream, 3000, lambda: work)
    assert costs[3] <= 1.3 * max(costs[:2])
