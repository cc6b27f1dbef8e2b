"""What a machine can hold, and how to run it there. Pure arithmetic over a catalogue and a Machine.

weights  a build's bytes, layer by layer
memory   bytes that llama.cpp needs, by place
mlx      bytes that MLX needs
speed    tokens per second to expect
ways     the best way to run given weights: context, KV type, what goes where
plans    which build of a model to take, and why
"""

from __future__ import annotations

from localmag.fit.memory import Gpu, Need, Setting
from localmag.fit.plans import Plan, of_file, plans, sibling
from localmag.fit.ways import Room, Way, best
from localmag.fit.weights import Weights

__all__ = ["Gpu", "Need", "Plan", "Room", "Setting", "Way", "Weights", "best", "of_file", "plans", "sibling"]
