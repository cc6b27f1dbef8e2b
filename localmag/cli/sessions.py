"""`localmag sessions`: the conversations on disk."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import typer

from localmag import amounts
from localmag.cli.columns import columns, headed
from localmag.cli.output import confirm, note, one_line, say
from localmag.engines import state
from localmag.engines.state import State
from localmag.errors import BadFile, NotFound
from localmag.sessions import Entry, Session, Sessions, Transcript, contexts
from localmag.types import Malformed, Part, Text, Thinking, ToolCall

app = typer.Typer(
    help="List, show and remove conversations.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
)

Id = Annotated[str, typer.Argument(metavar="ID", help="A conversation's id, or its first characters.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List conversations, the last one first."""
    with Sessions() as store:
        found = store.list()
    if as_json:
        say(json.dumps([asdict(s) for s in found], ensure_ascii=False))
        return
    if not found:
        note("No conversations yet. Start one with `localmag chat`.")
        return
    rows = headed(("id", "last", "messages", "model", "title"), map(_row, found))
    for line in columns(rows, right=(2,), cut=True):
        say(line)


@app.command()
def show(id: Id, as_json: Json = False) -> None:
    """Print a conversation, reasoning and answers apart."""
    with Sessions() as store:
        transcript = store.load(id)
    if as_json:
        say(json.dumps(_as_json(transcript), ensure_ascii=False))
        return
    say(f"# {one_line(transcript.session.title)}")
    if kept := _kept(transcript.session):
        say(
            f"\nKept of its context: {kept.tokens:,} tokens as {kept.build} on {kept.backend} reads them,"
            f" {amounts.size(kept.bytes)}."
        )
    if transcript.system:
        say(f"\n## system\n\n{_text(transcript.system.parts)}")
    for entry in transcript.entries:
        say(f"\n## {entry.message.role}{_how(entry)}\n\n{_text(entry.message.parts)}")


@app.command()
def rm(
    ids: Annotated[
        list[str],
        typer.Argument(metavar="ID...", help="Conversations' ids, or their first characters."),
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove conversations for good."""
    with Sessions() as store:
        found = {session.id: session for session in (store.load(id).session for id in ids)}
        told = [f"“{one_line(one.title)}” ({one.messages} messages)" for one in found.values()]
        if len(told) > 1:
            for line in told:
                note(f"  {line}")
        if not yes:
            confirm(f"Remove {told[0] if len(told) == 1 else f'these {len(told)} conversations'} for good?")
        for id in found:
            store.remove(id)
            note(f"Removed {id}.")


def _kept(session: Session) -> State | None:
    """What --resume would begin with."""
    try:
        return state.describe(contexts.folder(session.id))
    except (NotFound, BadFile):
        return None


def _context(session: Session) -> dict[str, object] | None:
    """The same as data."""
    if not (kept := _kept(session)):
        return None
    told = {name: getattr(kept, name) for name in ("backend", "library", "build", "kv_type", "saved")}
    return told | {"tokens": kept.tokens, "bytes": kept.bytes}


def _row(session: Session) -> tuple[str, ...]:
    when = datetime.fromtimestamp(session.updated).strftime("%Y-%m-%d %H:%M")
    return session.id, when, str(session.messages), one_line(session.model), one_line(session.title)


def _how(entry: Entry) -> str:
    if not entry.setup:
        return ""
    stop = entry.outcome.stop if entry.outcome else "being written"
    return f" ({entry.setup.model} {entry.setup.build}, {stop})"


def _text(parts: tuple[Part, ...]) -> str:
    """Reasoning is quoted, so that it cannot be taken for the answer."""
    shown = []
    for part in parts:
        match part:
            case Text(text):
                shown.append(text.strip())
            case Thinking(text):
                shown.append("\n".join(f"> {line}".rstrip() for line in text.strip().splitlines()))
            case ToolCall(name, arguments):
                shown.append(f"[calls {name}({arguments})]")
            case Malformed(text, why):
                shown.append(f"[malformed, {why}: {text!r}]")
    return "\n\n".join(s for s in shown if s)


def _as_json(transcript: Transcript) -> dict[str, object]:
    """The session, its system prompt and its messages; a reply with everything that wrote it."""
    messages = []
    for entry in transcript.entries:
        message: dict[str, object] = {
            "role": entry.message.role,
            "created": entry.created,
            "text": entry.message.text,
        }
        if entry.setup:
            message |= {"reasoning": entry.message.reasoning, "setup": asdict(entry.setup)}
            message |= {"outcome": asdict(entry.outcome) if entry.outcome else None}
        messages.append(message)
    system = transcript.system
    return {
        "session": asdict(transcript.session),
        "system": _text(system.parts) if system else None,
        "context": _context(transcript.session),
        "messages": messages,
    }
