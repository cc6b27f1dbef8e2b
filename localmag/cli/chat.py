"""`localmag chat`: the screen on a terminal, else line by line."""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from localmag import catalogue, config
from localmag.cli import options
from localmag.cli.output import Printer, say_error
from localmag.cli.turns import (
    Interruptible,
    conversation,
    engine,
    keep_context,
    model_of,
    past_of,
    say_what_runs,
)
from localmag.errors import ContextTooSmall, DoesNotFit, RunFailed
from localmag.store import NotHere
from localmag.types import Stop

if TYPE_CHECKING:
    from localmag import tui
    from localmag.sessions import Session

# The conversation, its database and its engine are imported where they are opened: after the first paint.


def chat(
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", show_default=False, help="A name, a file or a folder.")
    ] = None,
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
    """Chat, the reasoning beside the answer. Conversations are kept, see `localmag sessions`.

    Without a terminal it reads one message per line and answers each on stdout, reasoning on stderr.
    """
    past = past_of(continue_, resume, system)
    # All three: Textual draws on stderr, and answers that are piped on must not be drawn. A dumb terminal
    # (an Emacs shell, say) cannot place the cursor.
    terminal = all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))
    screen = terminal and os.environ.get("TERM") != "dumb"
    flags: dict[str, Any] = {
        "backend": backend,
        "quant": quant,
        "ctx": ctx,
        "kv": kv_type,
        "seed": seed,
        "temp": temp,
        "top_p": top_p,
        "max_tokens": max_tokens,
        "system": system,
        "keep": keep,
    }
    missing = None
    try:
        run = _going_on(past, flags, model) if past else options.resolve(model, **flags)
    except NotHere as exc:
        if not screen or past:
            raise
        missing, run = exc, options.resolve(catalogue.DEMO, **flags | _DEMO)
    if screen:
        _screen(run, past, flags, _wish(missing, backend, ctx, kv_type))
    else:
        _lines(run, past)


_DEMO: dict[str, Any] = {"quant": None, "ctx": None, "kv": None}
"""For the demo: they were asked for of another model. The backend stays as it was asked for."""


def _going_on(past: Session, flags: dict[str, Any], model: str | None = None) -> options.Run:
    """What goes on with `past`: what wrote it so far, unless a model is named."""
    keep = past.keep_reasoning if flags["keep"] is None else flags["keep"]
    named = model or model_of(past, flags["backend"].value, flags["quant"])
    return options.resolve(named, **flags | {"keep": keep})


def _wish(
    missing: NotHere | None, backend: options.BackendChoice, ctx: int | None, kv: options.KVChoice | None
) -> tui.Wish:
    """What the table of models is to look for: the one that is not here, if one was named."""
    from localmag import tui

    settings = config.load()
    return tui.Wish(
        model=missing.model.name if missing else "",
        quant=missing.quant if missing else None,
        backend=backend.value,
        context=ctx or settings.context,
        kv_type=kv.value if kv else settings.kv_type,
    )


def _screen(run: options.Run, past: Session | None, flags: dict[str, Any], wish: tui.Wish) -> None:
    """`flags` are for what else is opened on the screen, `wish` is for what can be fetched there."""
    from localmag import tui  # Textual takes 0.2 s, and only a terminal needs it
    from localmag.cli.desk import Desk, earlier

    asked_of_demo = run.installed.model == catalogue.DEMO and not run.stands_in and not wish.model

    def of_another(model: str) -> dict[str, Any]:
        return flags | (_DEMO if model == catalogue.DEMO and not asked_of_demo else {"quant": None})

    with Desk(run) as desk:

        def another_model(offer: tui.Offer) -> tui.Opening:
            return desk.opening(options.resolve(offer.name, **of_another(offer.model.name)))

        def another_chat(session: Session | None) -> tui.Opening:
            if session is None:
                return desk.another()
            return desk.opening(_going_on(session, of_another(session.model)), session)

        code = tui.run(
            desk.opening(run, past),
            models=tui.Models(partial(_look, wish), another_model, wish),
            chats=tui.Chats(earlier, another_chat),
            first_run=run.stands_in or bool(wish.model),
            theme=run.theme,
            show_thinking=run.show_thinking,
            afterwards=desk.keep_context,
        )
    raise typer.Exit(code)


def _look(wish: tui.Wish) -> tui.Sight:
    """Takes half a second: llama.cpp is asked what it can compute on."""
    from localmag.engines import devices, select
    from localmag.store import cache
    from localmag.tui.getting import looking

    return looking.sight(devices.machine(cache.root()), select.host(), wish)


def _lines(run: options.Run, past: Session | None) -> None:
    """One line in, one answer out. A reply that fails is reported, and the next line is still answered."""
    from localmag.cli.fitting import fitted
    from localmag.sessions import Sessions

    say_what_runs(run)
    run = fitted(run)
    failed = None
    with Sessions() as sessions, engine(run, past) as running:
        talk = conversation(run, past, sessions, running)
        for line in iter(partial(sys.stdin.readline, options.MOST_BYTES + 1), ""):
            if not options.bounded(line).strip():
                continue
            try:
                with Interruptible() as cancel:
                    done = Printer().show(talk.send(line.rstrip("\r\n"), cancel))
            except (RunFailed, ContextTooSmall, DoesNotFit) as exc:
                say_error(exc)
                failed = exc
                continue
            if done and done.stop is Stop.CANCELLED:
                raise typer.Exit(130)
        talk.close()
        keep_context(talk, run.kept_context)
    if failed:
        raise typer.Exit(failed.exit_code)
