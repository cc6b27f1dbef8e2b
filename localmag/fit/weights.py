"""A build's bytes, apart by what llama.cpp can put elsewhere: embedding, each layer, its experts, the end."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from localmag.catalogue import Build
from localmag.gguf import Header, Tensor, layout
from localmag.mlxfiles import Contents
from localmag.shape import Shape

_BLOCK = re.compile(r"blk\.(\d+)\.(.+)", re.ASCII)
_EXPERTS = re.compile(r"ffn_(?:gate|up|down|gate_up)_exps\.")
GROUP_BITS = 0.5
"""What MLX's quants add to each number: 64 share a scale and a bias of 16 bits (mlx_lm.utils)."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Bytes. `experts` are the routed experts' of each layer, and part of `layers`."""

    embedding: int
    layers: tuple[int, ...]
    experts: tuple[int, ...]
    output: int
    """Output layer and last norm, 0 where the embedding is the output layer, too."""
    itemsize: int = 2
    """Of one number as MLX computes with it: 4 where scales or norms are in 32 bits."""

    @property
    def total(self) -> int:
        return self.embedding + sum(self.layers) + self.output

    def scaled(self, total: int) -> Weights:
        """The same proportions in that many bytes: for a mix of which only the size is known."""
        by = total / self.total if self.total else 1.0
        return Weights(
            round(self.embedding * by),
            tuple(round(n * by) for n in self.layers),
            tuple(round(n * by) for n in self.experts),
            round(self.output * by),
            self.itemsize,
        )


def of_tensors(tensors: Iterable[Tensor], layers: int) -> Weights:
    """What a file holds."""
    counted = Weights(0, (0,) * layers, (0,) * layers, 0)
    in_layers, in_experts = [0] * layers, [0] * layers
    for tensor in tensors:
        size = tensor.nbytes or 0
        block = _BLOCK.fullmatch(tensor.name)
        if block and int(block[1]) < layers:
            in_layers[int(block[1])] += size
            if _EXPERTS.match(block[2]):
                in_experts[int(block[1])] += size
        elif tensor.name == "token_embd.weight":
            counted = replace(counted, embedding=size)
        else:
            counted = replace(counted, output=counted.output + size)
    return replace(counted, layers=tuple(in_layers), experts=tuple(in_experts))


def of_header(header: Header) -> Weights:
    return of_tensors(header.tensors, header.shape().layers)


def of_folder(contents: Contents) -> Weights:
    """What an MLX build on this machine takes."""
    return Weights(0, (), (), contents.weights, contents.itemsize)


def of_build(shape: Shape, build: Build) -> Weights:
    """What the file will hold, before it is here: its mix's bytes, or in its proportions the bytes told."""
    told = round(build.gigabytes * 1e9)
    if build.backend == "mlx":
        return Weights(0, (), (), told or _mlx(shape, build.quant))
    mix = build.quant if build.quant in layout.MIXES else "Q4_K_M"
    weights = of_tensors(layout.tensors(shape, mix), shape.layers)
    if mix == build.quant and (not told or abs(told - weights.total) <= 0.02 * told):
        return weights  # a rounded number agrees with the exact one
    return weights.scaled(told) if told else weights


def _mlx(shape: Shape, quant: str) -> int:
    """Bytes of a build named like `4bit` or `bf16`, embedding and output layer quantized like the rest."""
    bits = int(quant.removesuffix("bit")) + GROUP_BITS if quant.endswith("bit") else 16
    return round(shape.parameters * bits / 8)
