"""`localmag ask`: one question, one answer, made for pipes."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from localmag import catalogue
from localmag.cli import options
from localmag.cli.fitting import fitted
from localmag.cli.output import Printer, exhausted, say, told_if_long, warn
from localmag.cli.turns import (
    Interruptible,
    conversation,
    engine,
    keep_context,
    model_of,
    past_of,
    prompt_messages,
    saved,
    say_what_runs,
)
from localmag.errors import WrongUsage
from localmag.types import Malformed, Stop, Timing, ToolCall, Usage

if TYPE_CHECKING:
    from localmag.chat import Conversation
    from localmag.sessions import Session


def ask(
    first: Annotated[
        str | None, typer.Argument(metavar="MODEL", show_default=False, help="A name, a file or a folder.")
    ] = None,
    second: Annotated[
        str | None, typer.Argument(metavar="PROMPT", show_default=False, help="The question, in quotes.")
    ] = None,
    file: Annotated[
        list[Path] | None, typer.Option("--file", "-f", metavar="FILE", help="Add a text file; repeatable.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Load no weights; print the exact prompt, with --json its ids.")
    ] = False,
    hide_thinking: Annotated[
        bool, typer.Option("--hide-thinking", help="Do not print the reasoning on stderr.")
    ] = False,
    continue_: options.Continue = False,
    resume: options.Resume = None,
    system: options.System = None,
    keep: options.Keep = None,
    backend: options.Backend = options.BackendChoice.auto,
    quant: options.Quant = None,
    ctx: options.Ctx = None,
    kv_type: options.KV = None,
    seed: options.Seed = None,
    temp: options.Temp = None,
    top_p: options.TopP = None,
    max_tokens: options.MaxTokens = None,
) -> None:
    """Ask one question. The answer goes to stdout; reasoning and progress to stderr.

    Text that is piped in is added after PROMPT, files after that: `cat notes.txt | localmag ask "Sum it up"`.
    MODEL is a name (`demo`, `magistral`), a GGUF file, or a folder that holds one or an MLX build. With
    --continue or --resume, PROMPT and its answer are added to a saved conversation; otherwise nothing is
    saved.
    """
    model, prompt = _model_and_prompt(first, second)
    past = past_of(continue_, resume, system)
    text = _whole_prompt(prompt, file or [])
    run = options.resolve(
        model or model_of(past, backend.value, quant),
        backend=backend,
        quant=quant,
        ctx=ctx,
        kv=kv_type,
        seed=seed,
        temp=temp,
        top_p=top_p,
        max_tokens=max_tokens,
        system=system,
        keep=past.keep_reasoning if past and keep is None else keep,
    )
    if dry_run:
        _show_prompt(run, past, text, as_json)
        return
    say_what_runs(run)
    run = fitted(run)
    with saved(past) as sessions, engine(run, past) as running, Interruptible() as cancel:
        talk = conversation(run, past, sessions, running)
        before = talk.last()
        events = talk.send(text, cancel)
        try:
            done = exhausted(events) if as_json else Printer(hide_thinking=hide_thinking).show(events)
        finally:
            if as_json and talk.last() is not before:
                _print_object(run, talk)
        if done and done.stop is Stop.CANCELLED:
            raise typer.Exit(130)
        if past:
            keep_context(talk, run.kept_context)


def _print_object(run: options.Run, talk: Conversation) -> None:
    """The reply as one JSON object, also where it failed halfway: what had arrived is never lost."""
    entry = talk.last()
    if entry is None or entry.setup is None or entry.outcome is None:
        return
    if entry.outcome.stop is Stop.ERROR and not entry.message.parts:
        return
    say(
        json.dumps(
            {
                "model": run.installed.model,
                "build": run.installed.build,
                "backend": run.spec.backend,
                "reasoning": entry.message.reasoning,
                "answer": entry.message.text,
                "tool_calls": [asdict(p) for p in entry.message.parts if isinstance(p, ToolCall)],
                "malformed": [asdict(p) for p in entry.message.parts if isinstance(p, Malformed)],
                "stop": entry.outcome.stop,
                "seed": entry.setup.sampling.seed,
                "usage": asdict(entry.outcome.usage or Usage()),
                "timing": asdict(entry.outcome.timing or Timing()),
            },
            ensure_ascii=False,
        )
    )


def _model_and_prompt(first: str | None, second: str | None) -> tuple[str | None, str | None]:
    """Two words are MODEL and PROMPT. One is the PROMPT, unless it names a model and text is piped in."""
    if second is not None or first is None:
        return first, second
    piped = not sys.stdin.isatty()
    return (first, None) if piped and _names_model(first) else (None, first)


def _names_model(word: str) -> bool:
    if catalogue.is_name(word) or (word.endswith(".gguf") and "\n" not in word):
        return True
    if word.split() != [word]:
        return False
    from localmag.store import inventory  # only here is it needed

    return bool(inventory.take().meant(word))


def _whole_prompt(prompt: str | None, files: list[Path]) -> str:
    """PROMPT, what is piped in, and the files, a blank line between. Raises WrongUsage if all are empty."""
    pieces = [prompt or ""]
    if not sys.stdin.isatty():
        pieces.append(_piped().strip("\n"))
    pieces += [_fenced(path) for path in files]
    text = "\n\n".join(piece for piece in pieces if piece.strip())
    if not text:
        raise WrongUsage("There is no prompt.", 'Write one, as in `localmag ask demo "What is 478 + 356?"`.')
    return text


def _piped() -> str:
    """What is piped in. One who has left a pipe open unknowingly is told what is waited for."""
    with told_if_long(f"Still reading what is piped in. If nothing is, add <{os.devnull} to the command."):
        return options.bounded(sys.stdin.read(options.MOST_BYTES + 1)).removeprefix("\ufeff")


def _fenced(path: Path) -> str:
    """A file under its name, in a fence longer than any run of backticks inside it."""
    try:
        text = options.read_bytes(path, "Check the path after -f.").decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise WrongUsage(f"{path} is not UTF-8 text.", "Give text files only.") from exc
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{path.name}:\n{fence}\n{text.rstrip()}\n{fence}"


def _show_prompt(run: options.Run, past: Session | None, text: str, as_json: bool) -> None:
    from localmag.prompt import Codec  # 0.6 s, and only a dry run encodes in this process

    codec = Codec.load(run.spec.tokenizer)
    ids = codec.encode(prompt_messages(run, past, text), keep_reasoning=run.keep_reasoning)
    shown = codec.text_of(ids)
    say(json.dumps({"prompt_ids": ids, "prompt_text": shown}, ensure_ascii=False) if as_json else shown)
    if len(ids) >= run.spec.context:
        warn(f"The prompt is {len(ids):,} tokens and the context {run.spec.context:,}: it would not fit.")
