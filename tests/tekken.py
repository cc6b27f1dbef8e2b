"""Tokenizers for tests, made from the full-size Tekken vocabulary that mistral-common bundles.

The bundled file is a v3; what makes it another version is its list of control tokens. The one here is
v13's (Magistral's): ids 20 to 31 are unused there, [ARGS] to [/THINK] are 32 to 35.
"""

from __future__ import annotations

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


def bundled() -> dict[str, Any]:
    """The v3 file as it is."""
    path = Path(mistral_common.__file__).parent / "data" / "tekken_240911.json"
    return dict(json.loads(path.read_text(encoding="utf-8")))


def as_version(version: str) -> dict[str, Any]:
    """The bundled vocabulary with a version's control tokens (v13's, and what v15 adds), text only."""
    tekken = bundled()
    names = (*NAMES, "[MODEL_SETTINGS]", "[/MODEL_SETTINGS]") if version == "v15" else NAMES
    tekken.pop("multimodal", None)
    tekken.pop("image", None)
    tekken["config"]["version"] = version
    tekken["special_tokens"] = [
        {"rank": id, "token_str": name, "is_control": True} for id, name in enumerate(names)
    ]
    if version == "v15":
        tekken["model_settings_builder"] = {
            "reasoning_effort": {
                "type": "enum",
                "values": ["none", "high"],
                "default": "none",
                "accepts_none": True,
            }
        }
    return tekken


def write(tekken: dict[str, Any], folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tekken.json"
    path.write_text(json.dumps(tekken), encoding="utf-8")
    return path


@functools.cache
def codec(version: str = "v13") -> Codec:
    """The full-size tokenizer of a version, loaded once for all tests."""
    with tempfile.TemporaryDirectory() as folder:
        return Codec.load(write(bundled() if version == "v3" else as_version(version), Path(folder)))
