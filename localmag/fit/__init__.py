"""What a machine can hold, and how to run it there. Pure arithmetic over a catalogue and a Machine.

weights  a build's bytes, layer by layer
memory   bytes that llama.cpp needs, by place
apple    bytes that MLX needs
speed    tokens per second to expect
plans    which build, context and KV type, and why
"""

from __future__ import annotations

from localmag.fit.memory import Gpu, Need, Setting
from localmag.fit.plans import Plan, Room, of_build, plans, sibling
from localmag.fit.weights import Weights

__all__ = ["Gpu", "Need", "Plan", "Room", "Setting", "Weights", "of_build", "plans", "sibling"]
