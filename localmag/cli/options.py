"""The options that commands share, and how they, the config file and the model's card become one run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from localmag import catalogue, config, paths, store
from localmag.cli.output import told_if_long, warn
from localmag.config import KVType
from localmag.engines import EngineSpec, select, selection
from localmag.errors import NotFound, RunFailed, WrongUsage
from localmag.types import Sampling

MOST_SEED = 2**32 - 2
MOST_BYTES = 16 * 2**20  # of a text file: more than any context holds


def _number(value: float | None) -> float | None:
    """Not nan, which no range keeps out."""
    if value is not None and math.isnan(value):
        raise typer.BadParameter("nan is no number.")
    return value


class BackendChoice(StrEnum):
    auto = "auto"
    llamacpp = "llama.cpp"
    mlx = "mlx"


class KVChoice(StrEnum):
    f16 = "f16"
    q8_0 = "q8_0"
    q4_0 = "q4_0"


Backend = Annotated[BackendChoice, typer.Option("--backend", help="What runs the weights.")]
Quant = Annotated[
    str | None, typer.Option("--quant", metavar="Q", help="Which build of the model, as Q4_K_M or 4bit.")
]
Ctx = Annotated[
    int | None,
    typer.Option(
        "--ctx",
        metavar="N",
        min=64,
        max=config.MOST_CONTEXT,
        help="Context in tokens, prompt and reply together.",
    ),
]
KV = Annotated[KVChoice | None, typer.Option("--kv-type", help="Precision of the KV cache.")]
Seed = Annotated[
    int | None,
    typer.Option("--seed", metavar="N", min=0, max=MOST_SEED, help="Draw the same reply again; else random."),
]
Temp = Annotated[
    float | None,
    typer.Option(
        "--temp",
        metavar="T",
        min=0.0,
        max=5.0,
        callback=_number,
        help="Temperature; 0 is greedy. Else the card's.",
    ),
]
TopP = Annotated[
    float | None,
    typer.Option(
        "--top-p",
        metavar="P",
        min=0.0,
        max=1.0,
        callback=_number,
        help="Nucleus sampling; 1 is off. Else the card's.",
    ),
]
MaxTokens = Annotated[
    int | None,
    typer.Option(
        "--max-tokens", metavar="N", min=1, help="Most tokens of a reply, reasoning and answer together."
    ),
]
System = Annotated[
    str | None,
    typer.Option(
        "--system",
        metavar="TEXT|@FILE",
        help="System prompt instead of the model's own; '' sends none. A file may hold [THINK]…[/THINK].",
    ),
]
Continue = Annotated[bool, typer.Option("--continue", help="Go on with the last conversation.")]
Resume = Annotated[str | None, typer.Option("--resume", metavar="ID", help="Go on with that conversation.")]
Keep = Annotated[
    bool | None,
    typer.Option(
        "--keep-reasoning/--strip-reasoning",
        help="Whether past reasoning stays in the prompt of later turns; stripped by default.",
    ),
]


@dataclass(frozen=True, slots=True)
class Run:
    """One run's model and how to run it, every choice made."""

    installed: store.Installed
    stands_in: bool
    """Whether this is the demo because nobody named a model and no weights of Magistral are here."""
    backend: select.Choice
    spec: EngineSpec
    sampling: Sampling
    seed: int | None
    max_tokens: int
    asked_context: bool
    """Whether the user asked for the context that `spec` has, so that no other will do."""
    asked_kv_type: KVType | None
    """The KV type that the user asked for, None if any will do."""
    keep_reasoning: bool
    kept_context: int
    """Bytes on disk for what was read of conversations."""
    system: str | None
    """The system prompt's source text, None for none."""
    system_is_template: bool
    """Whether [THINK]…[/THINK] in it are control tokens: in the model's prompt and in files, not in TEXT."""
    theme: str | None
    show_thinking: bool | None


def resolve(
    model: str | None,
    *,
    backend: BackendChoice,
    quant: str | None,
    ctx: int | None,
    kv: KVChoice | None,
    seed: int | None,
    temp: float | None,
    top_p: float | None,
    max_tokens: int | None,
    system: str | None,
    keep: bool | None,
) -> Run:
    """Flags over the config file over the model's card.

    Raises what `config.load`, `store.locate` and `select.choose` do.
    """
    settings = config.load()
    host = select.host()
    name = model or settings.model or selection.unnamed(quant, backend.value, host)
    choice, found = _opened(name or catalogue.DEMO, backend, quant, host)
    asked = _asked(ctx, settings, found, stands_in=name is None)
    context = asked or found.context
    kv_type = kv.value if kv else settings.kv_type
    text, is_template = _system(system, found)
    return Run(
        installed=found,
        stands_in=name is None,
        backend=choice,
        spec=EngineSpec(
            backend=choice.backend,
            weights=found.weights,
            tokenizer=found.tokenizer,
            context=context,
            kv_type=kv_type or "f16",
            gpu_layers=settings.gpu_layers,
            threads=settings.threads,
        ),
        sampling=Sampling(
            temperature=_first(temp, settings.temperature, found.temperature),
            top_p=_first(top_p, settings.top_p, found.top_p),
        ),
        seed=seed,
        max_tokens=min(max_tokens or settings.max_tokens or found.max_tokens, context),
        asked_context=bool(asked),
        asked_kv_type=kv_type,
        keep_reasoning=settings.keep_reasoning if keep is None else keep,
        kept_context=int(settings.kept_context_gb * 1e9),
        system=text,
        system_is_template=is_template,
        theme=settings.theme,
        show_thinking=settings.show_thinking,
    )


def _opened(
    name: str, backend: BackendChoice, quant: str | None, host: select.Host
) -> tuple[select.Choice, store.Installed]:
    """What runs the weights, and those weights; what the user should know of them is said."""
    if catalogue.is_name(name):  # before anybody is told to fetch it
        _require_spoken(catalogue.find(name)[0].name)
    choice, found = selection.ready(name, quant, backend.value, host)
    _require_spoken(found.model)
    for note in found.notes:
        warn(note)
    return choice, found


def _asked(ctx: int | None, settings: config.Config, found: store.Installed, *, stands_in: bool) -> int:
    """The tokens of context that the user asks for, 0 if any will do.

    Raises WrongUsage for more than the weights were trained for.
    """
    most = found.trained or config.MOST_CONTEXT  # for a file that does not say
    asked = ctx or min(settings.context, most)
    if stands_in:
        asked = min(asked, most)  # it was asked of the model that the demo stands in for
    if asked > most:
        raise WrongUsage(
            f"{found.title} has at most {most:,} tokens of context, not {asked:,}.",
            f"Use --ctx {most} or less.",
        )
    return asked


def _require_spoken(name: str) -> None:
    """Raises RunFailed for a model of the catalogue that localmag cannot write prompts for."""
    model = next((m for m in catalogue.models() if m.name == name), None)
    if model and model.not_yet:
        raise RunFailed(
            f"{model.title} cannot be talked to yet: {model.not_yet}.",
            f"Choose another model, as `{catalogue.NEWEST}`.",
        )


def how_to_get_magistral() -> str:
    """One sentence: the command that fetches the real thing, and about how much that is."""
    model, _ = catalogue.find(catalogue.NEWEST)
    able = select.host().able()
    build = next((build for build in model.builds if build.backend in able), model.build())
    return f"To get {model.title}, run `localmag pull {catalogue.NEWEST}` ({build.gigabytes:.1f} GB)."


def _first(*choices: float | None) -> float:
    return next(c for c in choices if c is not None)


def _system(flag: str | None, found: store.Installed) -> tuple[str | None, bool]:
    if flag is None:
        path = found.system_prompt
        if found.no_prompt:
            warn(found.no_prompt)
        return (_read(path), True) if path else (None, False)
    if flag.startswith("@"):
        return _read(paths.expanded(flag[1:])), True
    return (flag or None), False


def _read(path: Path) -> str:
    return read_bytes(path, "Check the path after @.").decode("utf-8", "replace")


def bounded(text: str) -> str:
    """`text`, of which no more than `MOST_BYTES` + 1 was read. Raises WrongUsage if there was more."""
    if len(text) > MOST_BYTES:
        raise WrongUsage(
            f"What is piped in is larger than {MOST_BYTES // 2**20} MiB.", "No context holds that: give less."
        )
    return text


def read_bytes(path: Path, todo: str) -> bytes:
    """A text file's bytes. Raises NotFound if it cannot be read, WrongUsage if it has no end that fits."""
    waited = f"Still reading {path}. A pipe ends when what writes to it does; Ctrl+C stops."
    try:
        with told_if_long(waited), path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as exc:
        raise NotFound(f"The file {path} cannot be read ({exc.strerror}).", todo) from exc
    if len(data) > MOST_BYTES:
        raise WrongUsage(
            f"{path} is larger than {MOST_BYTES // 2**20} MiB.", "No context holds that: give less."
        )
    return data
