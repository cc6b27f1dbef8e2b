"""GGUF files, read without trusting them.

header   the format: metadata and the tensor table
model    a whole model: its parts, its vocabulary, and whether it is the shape that it claims to be
"""

from localmag.gguf import layout
from localmag.gguf.header import TYPES, Header, Tensor, Value, read
from localmag.gguf.model import parts, read_model, require_tekken

__all__ = ["TYPES", "Header", "Tensor", "Value", "layout", "parts", "read", "read_model", "require_tekken"]
