"""An MLX build's files to a model: what they say is not trusted, and no tokenizer of theirs is used."""

from __future__ import annotations

import glob
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten

from localmag import mlxfiles
from localmag.engines import EngineSpec, lastwords
from localmag.engines.mlx_parts import load_model
from localmag.errors import BadFile, DoesNotFit, LocalmagError, NotFound, RunFailed
from localmag.shape import Shape

_TOKENIZER = "tokenizer.json"
_MOST_TOKENIZER = 64 * 2**20  # bytes; the full vocabulary's takes 17 million
_MOST_LAYERS = 1_000  # they are made one by one before anything is compared with the weights
_CANNOT = (ArithmeticError, AssertionError, AttributeError, LookupError, NameError, OSError, TypeError)
MLX_ERRORS = (RuntimeError, ValueError, MemoryError, OverflowError)


@dataclass(frozen=True, slots=True)
class Build:
    """A model whose weights have not been read yet, and what its files say besides.

    `size` is bytes of the weights that it will read; `images` those of weights for seeing, which mlx-lm
    leaves out; `itemsize` those of a number that it computes with.
    """

    model: nn.Module
    shape: Shape
    size: int
    images: int
    itemsize: int


def open_build(spec: EngineSpec) -> Build:
    """Set up the network and find its weights, unread.

    Raises NotFound if there is no such folder; BadFile for one that is damaged, of another kind, or wants to
    run code of its own.
    """
    config = _config(spec)
    try:
        # Looked at here, too: MLX would wait for ever on a pipe among them.
        files = sorted(spec.weights.glob(mlxfiles.WEIGHTS))
        held = mlxfiles.contents(config, map(mlxfiles.tensors, files))
        shape = mlxfiles.shape(config)
        if any(0 < size < held.groups for size in (shape.width, shape.ffn, shape.heads * shape.head_size)):
            raise _odd(spec, "width")  # MLX would divide by the whole part of size / groups, which is 0
        with plain(spec.weights) as folder:
            model, _ = load_model(folder, lazy=True, model_config=_mended(config))
        size = sum(array.nbytes for _, array in tree_flatten(model.parameters()))
        return Build(model, shape, size, held.images, held.itemsize)
    except (*_CANNOT, *MLX_ERRORS) as exc:  # mlx-lm checks little, and fails wherever the form leads it
        raise _refused(spec, config, exc) from exc


def read_weights(model: nn.Module, on_load: Callable[[float], None]) -> None:
    """Read them, calling `on_load` with fractions from 0 to 1; what it raises ends the reading."""
    weights = [array for _, array in tree_flatten(model.parameters())]
    total = sum(array.nbytes for array in weights)
    done = told = 0
    on_load(0.0)
    for array in weights:
        mx.eval(array)
        done += array.nbytes
        if done - told > total // 100:
            told = done
            on_load(done / total)
    on_load(1.0)


def vocabulary(spec: EngineSpec) -> list[bytes] | None:
    """Every id's text as the build's `tokenizer.json` spells it, in GPT-2's letters; None if it has none.

    It is not used to make ids, only to see that they mean the same. Raises BadFile.
    """
    path = spec.weights / _TOKENIZER
    if not path.is_file():
        return None
    told = mlxfiles.json_object(path, _MOST_TOKENIZER)
    try:
        texts = {id: text for text, id in told["model"]["vocab"].items()}
        texts |= {token["id"]: token["content"] for token in told.get("added_tokens", ())}
        return [texts[id].encode() for id in range(len(texts))]
    except (AttributeError, LookupError, TypeError, UnicodeEncodeError) as exc:
        raise BadFile(f"{path} does not say what each id means.", "Fetch it again.") from exc


# ── What the files say ────────────────────────────────────────────────────────────────────────────


def _config(spec: EngineSpec) -> dict[str, Any]:
    """config.json, refused where mlx-lm would do as it says without asking."""
    if not spec.weights.is_dir():
        raise NotFound(
            f"There is no folder {spec.weights}.", "Pull the model, or give the folder of an MLX build."
        )
    config = mlxfiles.config(spec.weights)
    text = mlxfiles.text_of(config)
    for kind in (config.get("model_type"), text.get("model_type", "")):
        if not isinstance(kind, str) or not re.fullmatch(r"[\w-]*", kind):  # it becomes a module's name
            raise _foreign(spec, kind)
    if config.get("model_file") is not None:
        raise BadFile(
            f"{spec.name} wants to run a program of its own ({str(config['model_file'])[:60]!r}).",
            "None that comes with weights is run: use another build.",
        )
    if odd := mlxfiles.odd_number(config):  # MLX divides by some of them, and ends the process
        raise _odd(spec, odd)
    if not 0 < mlxfiles.shape(config).layers <= _MOST_LAYERS:
        raise BadFile(f"{spec.name} does not say how many layers it has.", "Fetch it again.")
    return config


def _mended(config: Mapping[str, Any]) -> dict[str, Any]:
    """What Transformers writes since its version 5, where mlx-lm's `llama` looks for it.

    Without this the base of the rotary embedding would be 10,000 instead of Magistral's 1,000,000,000, and
    the model would speak nonsense.
    """
    text = mlxfiles.text_of(config)
    rope = text.get("rope_parameters")
    if "rope_theta" in text or not isinstance(rope, dict) or "rope_theta" not in rope:
        return {}
    text["rope_theta"] = rope["rope_theta"]
    if rope.get("rope_type", "default") != "default":
        text.setdefault("rope_scaling", rope)
    return {"text_config": text} if isinstance(config.get("text_config"), dict) else text


@contextmanager
def plain(folder: Path) -> Iterator[Path]:
    """The folder by a name that mlx-lm does not take for a pattern, and MLX can read: it is UTF-8."""
    utf8 = os.fsencode(folder).decode(errors="replace") == str(folder)
    if utf8 and not glob.has_magic(str(folder)):
        yield folder
        return
    with tempfile.TemporaryDirectory() as place:
        link = Path(place, "build")
        link.symlink_to(folder.absolute(), target_is_directory=True)
        yield link


# ── What MLX says, in words for the user ──────────────────────────────────────────────────────────


def _refused(spec: EngineSpec, config: Mapping[str, Any], exc: Exception) -> LocalmagError:
    if re.search(r"[Mm]odel type .* not supported", str(exc)):
        return _foreign(spec, config.get("model_type"))
    if isinstance(exc, FileNotFoundError):
        return BadFile(f"{spec.name} holds no weights ({mlxfiles.WEIGHTS}).", "Fetch it again.")
    return _no_memory(spec, exc) or damaged(spec, exc)


def failure(exc: Exception, spec: EngineSpec) -> LocalmagError:
    """The error for the user if MLX fails while it computes."""
    todo = f"The log has the details: {spec.log}." if spec.log else "Try again."
    return _no_memory(spec, exc) or RunFailed(f"MLX failed while computing ({_first_line(exc)}).", todo)


def damaged(spec: EngineSpec, exc: Exception) -> BadFile:
    return BadFile(f"MLX cannot load {spec.name} ({_first_line(exc)}).", "Fetch it again, or verify it.")


def _no_memory(spec: EngineSpec, exc: Exception) -> DoesNotFit | None:
    if isinstance(exc, MemoryError | OverflowError) or lastwords.is_lack_of_memory(str(exc)):
        return lastwords.does_not_fit(spec.name, spec.context)
    return None


def _odd(spec: EngineSpec, what: str) -> BadFile:
    return BadFile(f"{spec.name} states a {what} that no model has.", "Fetch it again.")


def _foreign(spec: EngineSpec, kind: object) -> BadFile:
    return BadFile(
        f"{spec.name} is of the architecture {str(kind)[:60]!r}, which this MLX does not know.",
        "Update localmag, or choose a build of a Magistral or Ministral model.",
    )


def _first_line(exc: Exception) -> str:
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return lines[0][:200].rstrip(".: ") if lines else type(exc).__name__
