"""Whether a model file and a tokenizer speak of the same ids.

Ids go to the model as mistral-common makes them and come back to be read by it, so nothing else would
notice if the two differed: the model would be asked, and would answer, in garbled words.
"""

from __future__ import annotations

from collections.abc import Sequence

from localmag.engines import EngineSpec
from localmag.errors import BadFile
from localmag.gguf.letters import spelled
from localmag.prompt import Codec

_FILLER = "<SPECIAL_"  # how Tekken names control tokens that have no use; a file may call them anything


def require_same(theirs: Sequence[bytes], codec: Codec, spec: EngineSpec) -> None:
    """Raises BadFile unless every id means the same to the model file as to the tokenizer.

    `theirs` are the file's ids as GGUF spells them: bytes as GPT-2's letters, control tokens by name.
    """
    ours = [name.encode() for name in codec.control.names]
    ours += [spelled(piece).encode() for piece in codec.pieces[len(ours) :]]
    require_as_many(len(theirs), codec, spec)
    for id, (their, our) in enumerate(zip(theirs, ours, strict=True)):
        if their != our and not our.startswith(_FILLER.encode()):
            said = (text.decode("utf-8", "replace") for text in (their, our))
            raise _different("id {} is {!r} in the one, {!r} in the other".format(id, *said), spec)


def require_as_many(theirs: int, codec: Codec, spec: EngineSpec) -> None:
    """Raises BadFile unless the model file has as many ids as the tokenizer."""
    if theirs != codec.vocabulary:
        raise _different(f"{theirs:,} ids in the one, {codec.vocabulary:,} in the other", spec)


def _different(how: str, spec: EngineSpec) -> BadFile:
    return BadFile(
        f"{spec.name} was not made for {spec.tokenizer.name}: {how}.",
        "Use the tekken.json of the model that this file was made from.",
    )
