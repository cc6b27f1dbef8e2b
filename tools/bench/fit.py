"""What `localmag fit` predicts beside what llama.cpp reports and what the engine's process really holds.

    make bench-fit                 small and asked, one after the other
    make bench-fit ARGS=small      middle shapes, loaded
    make bench-fit ARGS=asked      models of the catalogue, as llama.cpp would lay them out
    make bench-fit ARGS=full       the full 24 billion, loaded (14.3 GB of disk, 20 GB of memory)

Each configuration runs in the engine's own process with the full Tekken vocabulary, as a chat would run it.
Held is the process's resident memory, less what it shares with others (Pss), after a first reply; and, since
a batch that is not full touches a part of the compute buffer only, the rest of that buffer. Linux only.

What is not to be loaded is asked about: llama.cpp lays its buffers out without allocating (`no_alloc`), for
a file that has a header and nothing else. Then nothing is held, and the last columns are empty.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import llama_cpp.llama_cpp as native

from localmag import catalogue, gguf
from localmag.config import KVType
from localmag.engines import EngineSpec
from localmag.engines.host import HostedEngine
from localmag.engines.nativelog import NativeLog
from localmag.fit import Need, Setting, memory, weights
from localmag.shape import Shape
from localmag.types import Message, Prefill, Sampling, Turn
from tests import tekken
from tools import synthetic_gguf

FOLDER = Path(__file__).parents[2] / "build" / "bench" / "fit"
MIB = 2**20
_BATCH = 512

MIDDLE = synthetic_gguf.llama(layers=12, width=1024, heads=8, kv_heads=2, ffn=4096)
MIXTURE = synthetic_gguf.mixture(6, 1024, 8, experts=16, active=4, expert_ffn=512, q_rank=256, kv_rank=256)


@dataclass(frozen=True, slots=True)
class Configuration:
    """`name` is the shape's: one of the catalogue, or one of this file's own."""

    name: str
    mix: str
    context: int
    kv_type: KVType

    @property
    def shape(self) -> Shape:
        if own := {"middle": MIDDLE, "mixture": MIXTURE}.get(self.name):
            return own
        shape = catalogue.find(self.name)[0].shape
        assert shape
        return shape


def _file(name: str, mix: str, *settings: tuple[int, KVType]) -> tuple[Configuration, ...]:
    return tuple(Configuration(name, mix, context, kv_type) for context, kv_type in settings)


SMALL = (
    *_file(
        "middle", "Q4_K_M", (4096, "f16"), (16384, "f16"), (40960, "f16"), (40960, "q8_0"), (40960, "q4_0")
    ),
    *_file("middle", "Q8_0", (16384, "q8_0")),
    *_file("middle", "F16", (16384, "f16")),
    *_file("middle", "Q6_K", (8192, "f16")),
    *_file("mixture", "Q4_K_M", (16384, "f16")),
    *_file("mixture", "Q8_0", (40960, "q8_0")),
)
ASKED = (
    *_file("ministral:3b", "Q4_K_M", (16384, "f16")),
    *_file("ministral:8b", "Q8_0", (40960, "q8_0")),
    *_file("magistral", "Q4_K_M", (4096, "f16"), (16384, "f16"), (40960, "f16"), (40960, "q8_0")),
    *_file("magistral", "Q6_K", (40960, "q4_0")),
    *_file("magistral", "Q8_0", (131072, "q8_0")),
    *_file("mistral-small:4", "Q4_K_M", (40960, "f16")),
)
FULL = _file(
    "magistral", "Q4_K_M", (4096, "f16"), (16384, "f16"), (16384, "q8_0"), (40960, "q8_0"), (40960, "q4_0")
)


@dataclass(frozen=True, slots=True)
class Measured:
    """Bytes, as llama.cpp's log reports its buffers, and as the system counts the process (0: not loaded)."""

    weights: int
    kv: int
    compute: int
    held: int

    @property
    def reported(self) -> int:
        return self.weights + self.kv + self.compute


def predicted(at: Configuration, file: Path) -> Need:
    """From the shape alone, as before a download; the vocabulary is the full one."""
    header = gguf.read_model(file)
    shape = replace(at.shape, vocabulary=header.vocabulary_size)
    held = weights.of_tensors(gguf.layout.tensors(shape, at.mix), shape.layers)
    (need,) = memory.llama_cpp(shape, held, Setting(at.context, at.kv_type))
    return need


def measure(at: Configuration, file: Path, tokenizer: Path) -> Measured:
    """Load it, let it read some text and draw an id, and look."""
    spec = EngineSpec("llama.cpp", file, tokenizer, at.context, at.kv_type)
    # A prompt that fills batches, unless reading it would take minutes.
    words = 1200 if file.stat().st_size < 500 * MIB else 8
    engine = HostedEngine(spec)
    try:
        turn = Turn((Message.of("user", "seven " * words),), Sampling(temperature=0), max_tokens=1)
        batch, before = 0, 0
        for event in engine.reply(turn, threading.Event()):
            if isinstance(event, Prefill):
                batch, before = max(batch, event.done - before), event.done
        assert engine.pid and engine.log
        held = pss(engine.pid)
        log = engine.log.read_text("utf-8", "replace")
    finally:
        engine.close()
    compute = buffers(log, "compute") + buffers(log, "output")
    untouched = round(compute * (1 - min(1.0, batch / min(_BATCH, memory.cells(at.context)))))
    return Measured(buffers(log, "model"), buffers(log, "KV"), compute, held + untouched)


def ask(at: Configuration, file: Path) -> Measured:
    """What llama.cpp would allocate, of what it says itself, allocating nothing."""
    path = file.with_suffix(".log")
    path.unlink(missing_ok=True)
    NativeLog.to(path)
    params = native.llama_model_default_params()
    params.no_alloc, params.load_mode = True, native.LLAMA_LOAD_MODE_NONE
    model = native.llama_model_load_from_file(str(file).encode(), params)
    context = native.llama_context_default_params()
    context.n_ctx, context.n_batch, context.n_outputs_max = at.context, min(2048, at.context), 1
    context.type_k = context.type_v = {"f16": 1, "q8_0": 8, "q4_0": 2}[at.kv_type]
    context.flash_attn_type = -1 if at.kv_type == "f16" else 1
    native.llama_free(native.llama_init_from_model(model, context))
    native.llama_model_free(model)
    log = path.read_text("utf-8", "replace")
    (cache,) = re.findall(r"llama_kv_cache: size = +([\d.]+) MiB", log)
    (gib_or_mib,) = re.findall(r"file size += ([\d.]+) (\w)iB", log)
    weights = float(gib_or_mib[0]) * {"G": 2**30, "M": MIB}[gib_or_mib[1]]
    return Measured(
        round(weights), round(float(cache) * MIB), buffers(log, "compute") + buffers(log, "output"), 0
    )


def buffers(log: str, kind: str) -> int:
    """The sum of what llama.cpp's log calls a `kind` buffer, in bytes."""
    sizes = re.findall(rf"{kind} buffer size = +([\d.]+) MiB", log)
    return round(sum(float(size) for size in sizes) * MIB)


def pss(pid: int) -> int:
    """The proportional set size of a process, in bytes."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss: +(\d+) kB", text, re.MULTILINE)
    assert found
    return int(found[1]) * 1024


def rows(configurations: tuple[Configuration, ...]) -> Iterator[tuple[str, ...]]:
    """One row of the table each. A file is written once for its neighbours, and removed after them."""
    tokenizer = FOLDER / "tekken.json"
    FOLDER.mkdir(parents=True, exist_ok=True)
    tekken.write(tekken.tekken("v13"), FOLDER)
    made: tuple[str, str] | None = None
    file = FOLDER / "model.gguf"
    try:
        for at in configurations:
            hollow = at in ASKED and configurations is not FULL
            if made != (at.name, at.mix):
                synthetic_gguf.write(file, tokenizer, at.shape, at.mix, context=131_072, hollow=hollow)
                made = (at.name, at.mix)
            found = ask(at, file) if hollow else measure(at, file, tokenizer)
            yield row(at, predicted(at, file), found)
    finally:
        file.unlink(missing_ok=True)


def row(at: Configuration, said: Need, found: Measured) -> tuple[str, ...]:
    buffers = said.weights + said.kv + said.compute
    return (
        f"{at.name} {at.mix}",
        f"{at.context:,}",
        at.kv_type,
        f"{_mib(said.weights)} / {_mib(found.weights)}",
        f"{_mib(said.kv)} / {_mib(found.kv)}",
        f"{_mib(said.compute)} / {_mib(found.compute)}",
        f"{buffers / found.reported - 1:+.1%}",
        f"{_mib(said.total)} / {_mib(found.held)}" if found.held else f"{_mib(said.total)} /",
        f"{said.total / found.held - 1:+.1%}" if found.held else "",
    )


def _mib(size: int) -> str:
    return f"{size / MIB:,.0f}"


HEAD = ("shape, mix", "context", "KV", "weights", "KV cache", "compute", "error", "held", "error")


def main() -> None:
    sets = {"": SMALL + ASKED, "small": SMALL, "asked": ASKED, "full": FULL}
    name = " ".join(sys.argv[1:])
    if name not in sets:
        sys.exit(f"There are no configurations {name!r}. Name one of: {', '.join(filter(None, sets))}.")
    print("MiB, predicted / measured\n")
    print("| " + " | ".join(HEAD) + " |\n|" + "---|" * len(HEAD))
    for cells in rows(sets[name]):
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
