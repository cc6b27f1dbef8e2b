"""A pull's state in words and bars."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.content import Content

from localmag import amounts, paths
from localmag.sanitize import sanitize
from localmag.tui.getting.progress import FileProgress, Progress
from localmag.tui.getting.pulls import Asking, Failed, Finished, Going, Ready, State, Stopped

if TYPE_CHECKING:
    from localmag.store.pull import Plan, Wanted

_QUIET = "$foreground 55%"
_BAR = 48  # cells at most


def told(title: str, state: State, width: int) -> tuple[str, Content]:
    """The heading and what stands below it, `width` cells wide."""
    title = sanitize(title)
    match state:
        case Asking(note):
            return f"Get {title}", Content(sanitize(note) or "Asking the hub what there is…")
        case Ready(plan):
            return f"Get {title}?", _planned(plan, width)
        case Going(progress, stopping):
            return f"{'Stopping' if stopping else 'Getting'} {title}", _going(progress, width)
        case Stopped(progress):
            kept = f"Stopped. What has arrived is kept: {amounts.part(progress.done, progress.total)}."
            return f"{title} is not here yet", _below(kept, progress, width)
        case Failed(error, progress):
            return f"{title} is not here yet", _failed(error.what, error.todo, progress, width)
        case Finished():
            return f"{title} is here, verified", Content("")


def button(state: State) -> str:
    """What Enter does now; empty if nothing."""
    match state:
        case Ready(plan) if plan.missing < plan.total:
            return (
                f"Yes, resume: {amounts.size(plan.missing)} more"
                if plan.missing
                else "Yes, check what is here"
            )
        case Ready(plan):
            return f"Yes, get {amounts.size(plan.missing)}"
        case Stopped():
            return "Go on"
        case Failed():
            return "Try again"
        case _:
            return ""


def _planned(plan: Plan, width: int) -> Content:
    begun = plan.total - plan.missing
    fetch = amounts.size(plan.missing)
    if begun:
        fetch += f" more; {amounts.part(begun, plan.total)} is here already"
    facts = [("fetch", fetch), ("licence", plan.licence or plan.model.licence)]
    repo, lines = "", []
    for file in plan.files:
        if file.repo != repo:
            repo = file.repo
            lines.append(("from", f"{file.repo} at {file.commit[:7]}"))
        lines.append(("", _file(file)))
    facts += [*lines, ("into", paths.shortened(plan.folder)), ("disk", f"{amounts.size(plan.free)} free")]
    return Content("\n").join(_fact(name, text, width) for name, text in facts)


def _file(file: Wanted) -> str:
    state = " (here)" if file.verified else f" ({amounts.size(file.here)} here)" if file.here else ""
    return f"{amounts.size(file.size):>9}  {file.path}{state}"


def _fact(name: str, text: str, width: int) -> Content:
    return Content.assemble((f"{name:<9}", _QUIET), _cut(sanitize(text), width - 9))


# ── How far it is ─────────────────────────────────────────────────────────────────────────────────


def _going(progress: Progress, width: int) -> Content:
    return Content("\n").join([*_bars(progress, width), Content(""), *_all(progress, width)])


def _bars(progress: Progress, width: int) -> list[Content]:
    lines = []
    for file in progress.files:
        mark, style = _MARKS[file.phase]
        state = _phase(file)
        name = _cut(sanitize(file.path), max(8, width - len(state) - 4))
        gap = " " * max(2, width - 2 - len(name) - len(state))
        lines.append(Content.assemble((mark, style), " ", name, (gap + state, _QUIET)))
        if file.phase in ("fetching", "checking"):
            done = file.checked or file.done
            lines.append(
                Content.assemble("  ", _bar(done / file.size if file.size else 1.0, width - 2, style))
            )
    return lines


_MARKS = {
    "waiting": ("·", _QUIET),
    "fetching": ("↓", "$primary"),
    "checking": ("≡", "$secondary"),
    "verified": ("✓", "$success"),
}


def _phase(file: FileProgress) -> str:
    match file.phase:
        case "waiting" if file.done:
            return amounts.part(file.done, file.size)
        case "fetching":
            return amounts.part(file.done, file.size)
        case "checking":
            whole = f" {amounts.part(file.checked, file.size)}" if file.checked else ""
            return f"checking SHA-256{whole}"
        case "verified":
            return f"verified  {amounts.size(file.size)}"
        case _:
            return amounts.size(file.size)


def _all(progress: Progress, width: int) -> list[Content]:
    fraction = progress.done / progress.total if progress.total else 1.0
    figures = f"{fraction:4.0%}  {amounts.part(progress.done, progress.total)}"
    if progress.rate and progress.done < progress.total:
        figures += f"  {amounts.size(progress.rate)}/s"
        if (seconds := progress.seconds_left) is not None:
            figures += f"  {amounts.left(seconds)} left"
    lines = [Content.assemble(_bar(fraction, min(_BAR, width), "$primary"), "  ", figures)]
    if width < _BAR + len(figures) + 2:
        lines = [_bar(fraction, width, "$primary"), Content(figures)]
    if progress.waiting:
        lines.append(Content.styled(_cut(sanitize(progress.waiting), width), "$warning"))
    return lines


def _bar(fraction: float, width: int, style: str) -> Content:
    """A line of half-cell steps."""
    halves = round(min(max(fraction, 0.0), 1.0) * width * 2)
    full, half = divmod(halves, 2)
    done = "━" * full + "╸" * half
    return Content.assemble((done, style), ("━" * (width - len(done)), "$foreground 15%"))


def _below(text: str, progress: Progress | None, width: int) -> Content:
    if progress is None:
        return Content(text)
    return Content("\n").join([Content(text), Content(""), *_bars(progress, width)])


def _failed(what: str, todo: str, progress: Progress | None, width: int) -> Content:
    said = Content.assemble((sanitize(what), "$error"), "\n", sanitize(todo))
    if progress is None or not progress.done:
        return said
    kept = f"What had arrived is kept: {amounts.part(progress.done, progress.total)}."
    return Content("\n").join([said, Content(""), Content.styled(kept, _QUIET)])


def _cut(text: str, width: int) -> str:
    """Cut in the middle: a file's quant and ending stand at its end."""
    if len(text) <= width:
        return text
    tail = max(1, width * 2 // 3)
    return f"{text[: max(0, width - tail - 1)]}…{text[-tail:]}"
