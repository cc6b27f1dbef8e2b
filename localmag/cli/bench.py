"""`localmag bench`: how fast a model loads, reads and writes on this machine."""

from __future__ import annotations

import json
import platform
from contextlib import closing
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from localmag import amounts
from localmag.cli import options
from localmag.cli.fitting import fitted
from localmag.cli.output import say, warn
from localmag.cli.turns import Interruptible, say_what_runs, system_of
from localmag.config import MOST_CONTEXT

if TYPE_CHECKING:
    from localmag.bench import Finding

_NAME, _RATE = 16, 10  # columns


def bench(
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", show_default=False, help="A name, a file or a folder.")
    ] = None,
    backend: options.Backend = options.BackendChoice.auto,
    quant: options.Quant = None,
    ctx: options.Ctx = None,
    kv_type: options.KV = None,
    seed: Annotated[
        int,
        typer.Option("--seed", metavar="N", min=0, max=options.MOST_SEED, help="Of the prompts and draws."),
    ] = 0,
    temp: options.Temp = None,
    top_p: options.TopP = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            "--max-tokens", metavar="N", min=1, help="Tokens of a run that writes. Else 128, or what fits."
        ),
    ] = None,
    depth: Annotated[
        list[int] | None,
        typer.Option(
            "--depth",
            metavar="N",
            min=0,
            max=MOST_CONTEXT,
            help="Tokens in the context before each run; repeatable. Else 0, and some that it has room for.",
        ),
    ] = None,
    runs: Annotated[
        int,
        typer.Option("--runs", metavar="N", min=1, max=1000, help="Of each kind, if they take no minutes."),
    ] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure how fast a model loads, reads and writes here.

    Through all that a chat goes through. `pp512` is 512 tokens of a prompt read, `tg128` 128 tokens written,
    in tokens per second: the median of several runs, and their range. ` @ d4096` is with as many in the
    context already. Nothing is saved.
    """
    from localmag.bench import measure  # the engine's host takes a while to import

    run = options.resolve(
        model,
        backend=backend,
        quant=quant,
        ctx=ctx,
        kv=kv_type,
        seed=seed,
        temp=temp,
        top_p=top_p,
        max_tokens=max_tokens,
        system=None,
        keep=None,
    )
    say_what_runs(run)
    run = fitted(run)
    found: list[Finding] = []
    if not as_json:
        say(f"{run.installed.title} {run.installed.build}, {', '.join(_setting(run))}")
    with Interruptible() as cancel:
        findings = measure(
            run.spec,
            cancel,
            sampling=replace(run.sampling, seed=seed),
            system=system_of(run),
            depths=depth or (),
            runs=runs,
            written=max_tokens,
        )
        try:
            with closing(findings):
                for one in findings:
                    found.append(one)
                    _tell(one, as_json)
        finally:
            if as_json and found:
                say(json.dumps(_object(run, found), ensure_ascii=False))


def _setting(run: options.Run) -> list[str]:
    spec = run.spec
    told = [spec.backend, f"context {spec.context:,}", f"KV {spec.kv_type}"]
    return [*told, f"{spec.gpu_layers} layers on the GPU"] if spec.gpu_layers >= 0 else told


def _tell(one: Finding, as_json: bool) -> None:
    from localmag.bench import Held, LeftOut, Opened, Speed

    match one:
        case LeftOut(depth, seconds):
            warn(f"Depth {depth:,} is left out: reading so much first takes {amounts.left(seconds)}.")
        case _ if as_json:
            return
        case Opened(load_s, ttft_s, prompt_tokens):
            _row("load", f"{load_s:.2f}", "s")
            _row("first token", f"{ttft_s:.2f}", f"s, of a first question: {prompt_tokens:,} tokens to read")
        case Speed() as speed:
            low, high, runs = min(speed.rates), max(speed.rates), len(speed.rates)
            of = f"{low:,.1f} to {high:,.1f} in {runs} runs" if runs > 1 else "in one run"
            _row(speed.name, f"{speed.median:,.1f}", f"tok/s, {of}")
        case Held(memory):
            _row("memory", f"{memory / 2**20:,.0f}", "MiB, of the engine's process")


def _row(name: str, number: str, rest: str) -> None:
    say(f"  {name:<{_NAME}}{number:>{_RATE}} {rest}")


def _object(run: options.Run, found: list[Finding]) -> dict[str, Any]:
    """All that was measured, and what it depends on. Nothing is in it that was not measured."""
    from localmag.bench import Held, LeftOut, Opened, Speed
    from localmag.doctor.checks import versions

    spec = run.spec
    told: dict[str, Any] = {
        "model": run.installed.model,
        "build": run.installed.build,
        "backend": spec.backend,
        "context": spec.context,
        "kv_type": spec.kv_type,
        "gpu_layers": spec.gpu_layers,
        "threads": spec.threads,
        "temperature": run.sampling.temperature,
        "top_p": run.sampling.top_p,
        "seed": run.seed,
        "system": platform.system(),
        "arch": platform.machine(),
        "versions": versions(),
        "tests": [],
        "left_out": [],
    }
    for one in found:
        match one:
            case Opened():
                told |= asdict(one)
            case Speed() as speed:
                told["tests"].append({"name": speed.name, "tps": speed.median} | asdict(speed))
            case LeftOut():
                told["left_out"].append(asdict(one))
            case Held(memory):
                told["memory_bytes"] = memory
    return told
