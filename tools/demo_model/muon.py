"""Muon: momentum whose matrix is made orthogonal before it is applied."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor


def orthogonal(stack: Tensor, rounds: int = 5) -> Tensor:
    """Bring every singular value of each matrix in the stack near 1 (Newton-Schulz, quintic)."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = stack.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(rounds):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if tall else x).float()


class Muon:
    """For weight matrices only: each comes with the row counts of the maps stacked in it (q, k and v)."""

    def __init__(
        self, parameters: list[tuple[Tensor, list[int]]], momentum: float = 0.95, decay: float = 0.01
    ) -> None:
        self.parameters = parameters
        self.momentum = momentum
        self.decay = decay
        self.velocity = [torch.zeros_like(p) for p, _ in parameters]

    def step(self, lr: float) -> None:
        with torch.no_grad():
            self._step(lr)

    def _step(self, lr: float) -> None:
        groups: dict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for (parameter, rows), velocity in zip(self.parameters, self.velocity, strict=True):
            velocity.lerp_(parameter.grad, 1 - self.momentum)
            update = parameter.grad.lerp(velocity, self.momentum)
            parameter.mul_(1 - lr * self.decay)
            for piece, change in zip(parameter.split(rows), update.split(rows), strict=True):
                groups[piece.shape].append((piece, change))
        for pieces in groups.values():
            changes = orthogonal(torch.stack([change for _, change in pieces]))
            for (piece, _), change in zip(pieces, changes, strict=True):
                piece.add_(change, alpha=-lr * max(1.0, piece.shape[0] / piece.shape[1]) ** 0.5)
