r"""Text made safe to show: nothing a model or a file contains may steer the terminal.

Every control character is drawn as its picture (ESC becomes ␛) instead of being cut out together with
the sequence it starts. So nothing is lost or hidden, and no sequence can be assembled from what is left,
however it is split over chunks. Line ends become "\n"; tabs stay.
"""

from __future__ import annotations

_LINE_ENDS = ("\x85", "\u2028", "\u2029", "\x0b", "\x0c")

# Bidirectional embeddings, overrides and isolates reorder what follows them on the screen (Trojan Source).
_BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"

_SAFE: dict[int, str] = {
    # U+2400 upwards are the pictures of C0; C1 has none, and 0x9b alone opens a sequence in some terminals.
    **{code: chr(0x2400 + code) for code in range(0x20)},
    0x7F: "\u2421",
    **dict.fromkeys(range(128, 160), "�"),
    **{ord(end): "\n" for end in _LINE_ENDS},
    **{ord(mark): "\ufffd" for mark in _BIDI},
    # A lone surrogate cannot be encoded on its way out.
    **dict.fromkeys(range(55296, 57344), "�"),
}
del _SAFE[ord("\n")], _SAFE[ord("\t")]
_SAFE[ord("\r")] = "\n"


class Sanitizer:
    """Sanitizes a text that arrives in chunks; the result does not depend on where it was split."""

    def __init__(self) -> None:
        self._after_return = False

    def feed(self, chunk: str) -> str:
        if not chunk:
            return ""
        body = chunk[1:] if self._after_return and chunk[0] == "\n" else chunk
        self._after_return = chunk[-1] == "\r"
        if body.isascii() and body.isprintable():
            return body
        return body.replace("\r\n", "\n").translate(_SAFE)


def sanitize(text: str) -> str:
    """A whole text, made safe to show."""
    return Sanitizer().feed(text)
