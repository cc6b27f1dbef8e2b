"""Decode through localmag's whole path beside the barest loop that each library allows, both greedy.

llama.cpp's does what its own llama-bench does: one id at a time through llama_decode, the argmax taken by
llama.cpp's greedy sampler. MLX's is mlx-lm's generate_step. Neither has text, a pipe, or a process boundary.
The runs alternate, and the medians are compared, so that a noisy neighbour hits both.
"""

from __future__ import annotations

import ctypes
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from localmag.engines.select import host
from localmag.hardware.cores import physical_cores

ROUNDS = 5
ROOT = Path(__file__).parents[2]
DEMO = ROOT / "localmag" / "demo"
LARGE = ROOT / "build" / "bench" / "synthetic-100m"


def rows() -> Iterator[tuple[str, ...]]:
    yield row("demo model: ask", DEMO / "demo-Q8_0.gguf", through_ask, tokens=256, wanted="")
    yield row("synthetic, 100 M parameters: ask", synthetic(), through_ask, tokens=512, wanted="≥ 0.95")
    if "mlx" in host().able():
        yield row(
            "synthetic, MLX: localmag bench", synthetic_mlx(), through_bench, tokens=64, wanted="≥ 0.95"
        )


def row(
    name: str, file: Path, ours: Callable[[Path, int, str], float], *, tokens: int, wanted: str
) -> tuple[str, ...]:
    rates, bare = [], []
    with tempfile.TemporaryDirectory() as home:
        for _ in range(ROUNDS):
            bare.append(in_its_own_process(file, tokens))
            rates.append(ours(file, tokens, home))
    a, b = statistics.median(rates), statistics.median(bare)
    return (f"decode, {name} / bare loop", f"{a:.1f} tok/s", f"{b:.1f} tok/s", f"{a / b:.3f}", wanted)


def synthetic() -> Path:
    """Made once, with the demo's tokenizer beside it: about 100 M parameters of random weights."""
    file = LARGE / "synthetic.gguf"
    if not file.exists():
        from tools.synthetic_gguf import HUNDRED_MILLION, write

        LARGE.mkdir(parents=True, exist_ok=True)
        (LARGE / "tekken.json").write_bytes((DEMO / "tekken.json").read_bytes())
        write(file, DEMO / "tekken.json", HUNDRED_MILLION)
    return file


def synthetic_mlx() -> Path:
    """The same numbers, quantized to 8 bits for MLX; in 32 besides, which is quickest on a CPU."""
    folder = LARGE / "mlx-8bit"
    if not (folder / "model.safetensors").exists():
        from tools.mlx_build import write

        write(synthetic(), folder, "float32", 8)
        (folder / "tekken.json").write_bytes((DEMO / "tekken.json").read_bytes())
    return folder


def through_ask(file: Path, tokens: int, home: str) -> float:
    """Tokens per second, as `localmag ask --json` reports them."""
    said = localmag(home, "ask", str(file), PROMPT, "--max-tokens", str(tokens), "--system", "")
    return float(said["timing"]["decode_tps"])


PROMPT = "Sort the numbers 41, 7, 902, 33, 350 and 128 from the smallest to the largest, and say how."


def through_bench(file: Path, tokens: int, home: str) -> float:
    """Tokens per second, as `localmag bench --json` reports them."""
    # The context is short because bench reads half of it first, which takes MLX long on a CPU.
    run = ("--runs", "1", "--depth", "0", "--ctx", "256", "--max-tokens", str(tokens))
    said = localmag(home, "bench", str(file), *run)
    return float(next(test["tps"] for test in said["tests"] if test["kind"] == "tg"))


def localmag(home: str, *args: str) -> Any:
    """What the program says as JSON, with nothing left to chance."""
    program = str(Path(sys.executable).with_name("localmag"))
    done = subprocess.run(
        [program, *args, "--json", "--temp", "0"],
        check=True,
        capture_output=True,
        env=os.environ | {"LOCALMAG_HOME": home},
        stdin=subprocess.DEVNULL,
    )
    return json.loads(done.stdout)


def in_its_own_process(file: Path, tokens: int) -> float:
    command = [sys.executable, "-m", "tools.bench.decode", str(file), str(tokens)]
    done = subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    return float(done.stdout)


def bare(weights: Path, tokens: int) -> float:
    """Tokens per second, from the first id on, as ours are counted."""
    return bare_mlx(weights, tokens) if weights.is_dir() else bare_llama(weights, tokens)


def bare_mlx(folder: Path, tokens: int) -> float:
    """Of mlx-lm's own loop, as a program of its own would run it."""
    import mlx.core as mx

    from localmag.engines.mlx_parts import load_model  # which leaves the limits of this process alone

    if not mx.metal.is_available():
        mx.disable_compile()  # as ours: on a CPU it is a C++ compiler, for seconds
    from mlx_lm.generate import generate_step

    model, _ = load_model(folder)
    drawn = generate_step(mx.array(list(range(1500, 1540))), model, max_tokens=tokens + 1)
    next(drawn)
    start = time.perf_counter()
    return sum(1 for _ in drawn) / (time.perf_counter() - start)


def bare_llama(file: Path, tokens: int) -> float:
    """Of the shortest loop that llama.cpp's own API allows."""
    import llama_cpp as llama

    llama.llama_backend_init()
    silent = llama.llama_log_callback(lambda level, text, data: None)
    llama.llama_log_set(silent, ctypes.c_void_p(0))
    model = llama.llama_model_load_from_file(str(file).encode(), llama.llama_model_default_params())
    params = llama.llama_context_default_params()
    params.n_ctx, params.n_batch = 1024, 1024
    params.n_threads = params.n_threads_batch = physical_cores()  # as ours
    context = llama.llama_init_from_model(model, params)
    sampler = llama.llama_sampler_init_greedy()
    prompt = (llama.llama_token * 40)(*range(1500, 1540))
    if llama.llama_decode(context, llama.llama_batch_get_one(prompt, len(prompt))):
        raise RuntimeError("the prompt was not read")
    one = (llama.llama_token * 1)()
    start = 0.0
    for i in range(tokens):
        one[0] = llama.llama_sampler_sample(sampler, context, -1)
        if i == 0:
            start = time.perf_counter()  # ours counts from the first id, too
        if llama.llama_decode(context, llama.llama_batch_get_one(one, 1)):
            raise RuntimeError("an id was not decoded")
    return tokens / (time.perf_counter() - start)


if __name__ == "__main__":
    print(bare(Path(sys.argv[1]), int(sys.argv[2])))
