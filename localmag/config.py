"""What the user set once and for all, in one TOML file. The flags of a run go before it.

    # config.toml
    model = "magistral-small-2509:Q4_K_M"
    context = 40960
    temperature = 0.7
    show_thinking = false

A key left out keeps its default. An unknown key, a wrong type or a value out of range is refused by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from localmag import files, forms, paths
from localmag.forms import Range

KVType = Literal["f16", "q8_0", "q4_0"]

MOST_CONTEXT = 2**24
"""Tokens: far beyond any model, and safe in 32 bits."""


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of one run. None (and 0 for `context` and `threads`) leaves the choice to the program."""

    model: str | None = None
    """Name or name:quant, as `localmag list` prints it."""
    context: int = 0
    """Tokens, prompt and reply together; 0: what the model is meant for and the machine can hold."""
    kv_type: KVType | None = None
    """Number format of the KV cache; None: chosen to fit."""
    temperature: float | None = None
    """0 (greedy) to 5; None: as the model's card says."""
    top_p: float | None = None
    """0 to 1; None: as the model's card says."""
    max_tokens: int | None = None
    """Ids of one reply, reasoning and answer together; None: as the model's card says."""
    keep_reasoning: bool = False
    """Whether past reasoning stays in the prompt of later turns."""
    theme: str | None = None
    """A Textual theme's name."""
    show_thinking: bool | None = None
    """Whether the reasoning pane starts open; None: as it was left."""
    threads: int = 0
    """CPU threads; 0: the physical cores."""
    gpu_layers: int = -1
    """Layers on the GPU, counted from the top; -1: all that fit."""
    kept_context_gb: float = 10.0
    """GB on disk (10^9 bytes) for what was read of conversations, so that --resume goes on at once."""


_RULES: forms.Rules = {
    "context": Range(0, MOST_CONTEXT),
    "temperature": Range(0, 5),
    "top_p": Range(0, 1),
    "max_tokens": Range(1, MOST_CONTEXT),
    "threads": Range(0, 512),  # GGML_MAX_N_THREADS: more is a crash
    "gpu_layers": Range(-1, 9999),
    "kept_context_gb": Range(0, 100_000),
}


def file() -> Path:
    return paths.config() / "config.toml"


def load() -> Config:
    """Read the file where there is one. Raises WrongUsage, naming the file and the key."""
    path = file()
    return forms.made(Config, files.toml(path), path, _RULES)
