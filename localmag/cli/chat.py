"""`localmag chat`: the screen on a terminal, else line by line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
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
    resolve = partial(
        options.resolve,
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
    missing = None
    try:
        run = resolve(model or model_of(past, backend.value, quant))
    except NotHere as exc:
        if not screen or past:
            raise
        missing, run = exc, resolve(catalogue.DEMO, **_DEMO)
    if screen:
        _screen(run, past, resolve, _wish(missing, backend, ctx, kv_type))
    else:
        _lines(run, past)


_DEMO: dict[str, Any] = {"quant": None, "ctx": None, "kv": None}
"""For the demo: they were asked for of another model. The backend stays as it was asked for."""


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


def _screen(
    run: options.Run, past: Session | None, resolve: Callable[..., options.Run], wish: tui.Wish
) -> None:
    """`resolve` makes the run of another model, which the user fetched or chose on the screen.

    `wish` is what there is to choose from.
    """
    from localmag import tui  # Textual takes 0.2 s, and only a terminal needs it
    from localmag.cli.desk import Desk

    with Desk() as desk:
        code = tui.run(
            desk.opening(run, past),
            models=tui.Models(
                partial(_look, wish),
                lambda offer: desk.opening(resolve(offer.name, **(_DEMO if offer.demo else {"quant": None}))),
                wish,
            ),
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
