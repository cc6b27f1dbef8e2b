"""A model of the user's own, from a catalogue in the config folder."""

from __future__ import annotations

from localmag import paths
from localmag.shape import Shape
from tests.conftest import Demo
from tests.hub.server import Hub

WEIGHTS_REPO = "me/mine-GGUF"
OWN = """
[[model]]
name = "{name}"
aliases = {aliases}
title = "Mine"
repo = "{repo}"
licence = "MIT"
context = 1024
advised = 1024
max_tokens = 512
temperature = 0.7
top_p = 0.95
{shape}
[[model.build]]
backend = "llama.cpp"
quant = "Q8_0"
repo = "{weights}"
file = "{file}"
gigabytes = 0.005
"""


def own_model(
    file: str = "mine-Q8_0.gguf",
    repo: str = "me/mine",
    *,
    name: str = "mine",
    aliases: tuple[str, ...] = (),
    shape: Shape | None = None,
) -> None:
    """A catalogue of the user's own, in the config folder; without a shape nobody can tell what it takes."""
    told = ""
    if shape:
        known = ("layers", "width", "heads", "kv_heads", "head_size", "ffn", "vocabulary", "tied")
        numbers = [f"{key} = {str(getattr(shape, key)).lower()}" for key in known]
        told = "\n".join(("[model.shape]", *numbers, ""))
    text = OWN.format(
        name=name, aliases=list(aliases), repo=repo, shape=told, weights=WEIGHTS_REPO, file=file
    )
    (paths.config() / "models.toml").write_text(text, encoding="utf-8")


def serve_own(hub: Hub, demo: Demo) -> None:
    """Its two repositories, which hold the demo's files under names of the user's."""
    hub.add(WEIGHTS_REPO, {"mine-Q8_0.gguf": demo.weights})
    hub.add("me/mine", {path.name: path.read_bytes() for path in (demo.tokenizer, demo.system_prompt)})
