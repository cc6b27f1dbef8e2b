"""Tokenizers for tests, made from the full-size Tekken vocabulary that mistral-common bundles.

The bundled file is a v3; what makes it another version is its list of control tokens. The one here is
v13's (Magistral's): ids 20 to 31 are unused there, [ARGS] to [/THINK] are 32 to 35.
"""

from __future__ import annotations

import copy
import functools
import json
import tempfile
from pathlib import Path
from typing import Any

import mistral_common

from localmag.prompt import Codec

NAMES = (
    *("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]"),
    *("[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]", "<pad>", "[IMG_BREAK]", "[IMG_END]"),
    *("[PREFIX]", "[MIDDLE]", "[SUFFIX]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]"),
    *(f"<SPECIAL_{id}>" for id in range(20, 32)),
    *("[ARGS]", "[CALL_ID]", "[THINK]", "[/THINK]"),
)


FULL = 131_072 - 1_000
"""Ranks of the full vocabulary: all ids less the control tokens."""


def tekken(version: str, ranks: int = FULL) -> dict[str, Any]:
    """The content of a version's `tekken.json`, text only, with the first `ranks` of the vocabulary.

    The control tokens are v13's and what v15 adds; v3 has none in its file.
    """
    bundled = _bundled()
    made: dict[str, Any] = {
        "config": bundled["config"] | {"version": version, "default_vocab_size": ranks + 1_000},
        "vocab": copy.deepcopy(bundled["vocab"][:ranks]) if ranks < FULL else bundled["vocab"],
    }
    if version != "v3":
        names = (*NAMES, "[MODEL_SETTINGS]", "[/MODEL_SETTINGS]") if version == "v15" else NAMES
        made["special_tokens"] = [
            {"rank": id, "token_str": name, "is_control": True} for id, name in enumerate(names)
        ]
    if version == "v15":
        effort = {"type": "enum", "values": ["none", "high"], "default": "none", "accepts_none": True}
        made["model_settings_builder"] = {"reasoning_effort": effort}
    return made


@functools.cache
def _bundled() -> dict[str, Any]:
    path = Path(mistral_common.__file__).parent / "data" / "tekken_240911.json"
    return dict(json.loads(path.read_text(encoding="utf-8")))


def write(made: dict[str, Any], folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tekken.json"
    path.write_text(json.dumps(made), encoding="utf-8")
    return path


@functools.cache
def codec(version: str = "v13") -> Codec:
    """A version's tokenizer, loaded once for all tests: v13 at full size, the others small."""
    with tempfile.TemporaryDirectory() as folder:
        ranks = FULL if version == "v13" else 3_096
        return Codec.load(write(tekken(version, ranks), Path(folder)))
