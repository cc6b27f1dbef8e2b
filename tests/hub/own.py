"""A model of the user's own, from a catalogue in the config folder."""

from __future__ import annotations

from localmag import paths

OWN = """
[[model]]
name = "mine"
title = "Mine"
repo = "{repo}"
licence = "MIT"
context = 1024
advised = 1024
max_tokens = 512
temperature = 0.7
top_p = 0.95

[[model.build]]
backend = "llama.cpp"
quant = "Q8_0"
repo = "me/mine-GGUF"
file = "{file}"
"""


def own_model(file: str = "mine-Q8_0.gguf", repo: str = "me/mine") -> None:
    """A catalogue of the user's own, in the config folder."""
    (paths.config() / "models.toml").write_text(OWN.format(file=file, repo=repo), encoding="utf-8")
