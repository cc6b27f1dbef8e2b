"""GPT-2's printable letter for each byte, which is how a GGUF spells the text of byte-level vocabularies.

Bytes that print as they are stand for themselves; the others are moved to code points from 256 on.
"""

from __future__ import annotations


def _letters() -> dict[int, int]:
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(256, 512))
    return {byte: byte if byte in printable else next(others) for byte in range(256)}


_LETTERS = _letters()
"""Byte → code point."""

_BYTES = {letter: byte for byte, letter in _LETTERS.items()}


def spelled(piece: bytes) -> str:
    return piece.decode("latin-1").translate(_LETTERS)


def unspelled(text: str) -> bytes:
    """Raises KeyError for a letter that stands for no byte."""
    return bytes([_BYTES[ord(letter)] for letter in text])
