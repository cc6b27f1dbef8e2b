"""`localmag doctor`: would chat work here, and what mends what does not."""

from __future__ import annotations

import json
import sys
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from localmag import paths
from localmag.cli import options
from localmag.cli.output import one_line, say

if TYPE_CHECKING:
    from localmag.doctor import Report

_STYLES = {"ok": "green", "note": "yellow", "problem": "red bold"}
_MARKS = {"ok": "✓", "note": "!", "problem": "✗"}
_PLAIN_MARKS = {"ok": "ok", "note": "!", "problem": "x"}
_TOPIC = 14  # columns


def doctor(
    backend: options.Backend = options.BackendChoice.auto,
    quant: options.Quant = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check whether `chat` would work here; say what mends it.

    Looks at the hardware and what is built for it, weights, conversations, settings and the terminal, and
    starts the demo once. --backend and --quant are those that chat would be given. The exit code is 0 if chat
    would work, else 1.
    """
    from localmag.doctor import examine

    report = examine(backend.value, quant)
    if as_json:
        say(json.dumps(report.as_json(), ensure_ascii=False))
    else:
        _draw(report)
    raise typer.Exit(0 if report.works else 1)


def _draw(report: Report) -> None:
    from rich.console import Console
    from rich.text import Text

    # Lines are never broken here: what is copied from them, a command or a path, must stay in one piece.
    console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
    marks = _MARKS if report.terminal.unicode else _PLAIN_MARKS
    for topic, checks in groupby(report.checks, lambda check: check.topic):
        for number, check in enumerate(checks):
            mark = (f"{marks[check.state]:<3}", _STYLES[check.state])
            head = (f"{'' if number else topic:<{_TOPIC}}", "bold")
            console.print(Text.assemble(mark, head, one_line(paths.shortened(check.said))))
            if check.todo:
                console.print(Text(f"{'':<{_TOPIC + 3}}{one_line(check.todo)}", style="cyan"))
    console.print(Text(f"\n{_verdict(report)}", style="bold"))


def _verdict(report: Report) -> str:
    problems = sum(check.state == "problem" for check in report.checks)
    if problems:
        return f"`localmag chat` does not work yet: {problems} {'problem' if problems == 1 else 'problems'}."
    return "`localmag chat` works."
