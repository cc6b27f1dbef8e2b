"""The training loop: seeded, and resumed from its last checkpoint."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import distributed, multiprocessing

from tools.demo_model.batches import Batch, batches, reply_ids
from tools.demo_model.conversations import FAMILIES
from tools.demo_model.model import Model
from tools.demo_model.muon import Muon
from tools.demo_model.shape import Shape

# glibc returns large blocks to the system and takes them anew: page faults were half of the time on a CPU.
MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": "1073741824",
    "MALLOC_TRIM_THRESHOLD_": "8589934592",
    "MALLOC_TOP_PAD_": "268435456",
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is trained how long. A step takes a batch per worker; rates rise, stay and fall to 0, twice."""

    seed: int = 1
    steps: int = 7600
    workers: int = 2
    warmup: int = 100
    falls: tuple[tuple[int, int, float], ...] = ((1800, 6800, 1.0), (6800, 7600, 0.3))
    """From a step to a step, and from which share of the full rates."""
    muon_rate: float = 0.02
    adam_rate: float = 0.004
    checkpoint_seconds: float = 120.0

    def rate(self, step: int) -> float:
        """The share (0 to 1) of the full learning rate at `step`."""
        start, end, top = next(fall for fall in self.falls if step < fall[1])
        return top * min((step + 1) / self.warmup, 1.0, (end - step) / (end - start))


def keep_memory() -> None:
    """Start this program again with glibc told to keep its memory, once."""
    if sys.platform == "linux" and not MALLOC.keys() <= os.environ.keys():
        os.environ.update(MALLOC)
        os.execv(sys.executable, [*sys.orig_argv[:1], *sys.orig_argv[1:]])


class Training:
    """A model, its optimizers, and how far they are."""

    def __init__(self, recipe: Recipe, shape: Shape, replies: list[int] | None = None) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.shape = shape
        self.model = Model(shape, replies or reply_ids(recipe.seed))
        self.parameters = list(self.model.parameters())
        matrices = self.model.matrices()
        others = [p for p in self.parameters if all(p is not m for m, _ in matrices)]
        self.muon = Muon(matrices)
        self.adam = torch.optim.AdamW(others, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
        self.step = 0
        self.pool = 0
        self.used = 0
        """Batches of the current pool that are already learnt."""
        self.seconds = 0.0
        """Wall time of training so far, over all runs."""
        self.tokens = 0

    def save(self, path: Path) -> None:
        """Write a checkpoint so that an interruption leaves the old one or the new one."""
        state = {
            "recipe": asdict(self.recipe),
            "shape": asdict(self.shape),
            "reply_ids": self.model.reply_ids,
            "model": self.model.state_dict(),
            "muon": self.muon.velocity,
            "adam": self.adam.state_dict(),
            **{name: getattr(self, name) for name in ("step", "pool", "used", "seconds", "tokens")},
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)

    def load(self, path: Path) -> None:
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.adam.load_state_dict(state["adam"])
        for mine, saved in zip(self.muon.velocity, state["muon"], strict=True):
            mine.copy_(saved)
        for name in ("step", "pool", "used", "seconds", "tokens"):
            setattr(self, name, state[name])


def load_model(path: Path) -> Model:
    """The model of a checkpoint."""
    state = torch.load(path, weights_only=True)
    model = Model(Shape(**state["shape"]), state["reply_ids"])
    model.load_state_dict(state["model"])
    return model.eval()


def _share_gradients(parameters: list[torch.nn.Parameter]) -> None:
    """Add up the gradients of all workers, in place."""
    flat = torch.cat([p.grad.flatten() for p in parameters])
    distributed.all_reduce(flat)
    for parameter, piece in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
        parameter.grad.copy_(piece.view_as(parameter))


def _work(rank: int, recipe: Recipe, shape: Shape, checkpoint: Path, meeting: str) -> None:
    """One worker's part: its batch of every step, then the same update as every other worker."""
    # One thread each: threads that share one product wait for each other at every step of it, and stall on a
    # machine that is also used for something else.
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=recipe.workers)
    replies = torch.load(checkpoint, weights_only=True)["reply_ids"] if checkpoint.exists() else None
    state = Training(recipe, shape, replies)
    if checkpoint.exists():
        state.load(checkpoint)
    if rank == 0:
        print(f"training from step {state.step} to {recipe.steps}", file=sys.stderr, flush=True)
    model = state.model
    for block in model.trunk.blocks:
        block.compile(dynamic=True)
    source = batches(recipe.seed, state.pool)
    for _ in range(state.used):
        next(source)
    began = saved = time.monotonic()
    before = state.seconds
    losses: dict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])
    while state.step < recipe.steps:
        taken: list[Batch] = []
        for _ in range(recipe.workers):
            pool, batch = next(source)
            state.used = state.used + 1 if pool == state.pool else 1
            state.pool = pool
            taken.append(batch)
        mine = taken[rank]
        with torch.autocast("cpu", torch.bfloat16):
            each = model.loss(model.trunk(mine.ids), mine.positions, mine.targets)
        (each.sum() / sum(len(batch.targets) for batch in taken)).backward()
        _share_gradients(state.parameters)
        rate = recipe.rate(state.step)
        for group in state.adam.param_groups:
            group["lr"] = recipe.adam_rate * rate
        state.muon.step(recipe.muon_rate * rate)
        state.adam.step()
        model.zero_grad(set_to_none=True)
        state.step += 1
        state.tokens += sum(batch.ids.numel() for batch in taken)
        state.seconds = before + time.monotonic() - began
        for family in mine.families.unique().tolist():
            here = each.detach()[mine.families == family]
            losses[family][0] += here.sum().item()
            losses[family][1] += len(here)
        if rank == 0 and state.step % 100 == 0:
            shown = "  ".join(f"{FAMILIES[f][:6]} {s / n:.4f}" for f, (s, n) in sorted(losses.items()))
            line = f"{state.step:5}  {state.seconds:6.0f} s  {state.tokens / 1e6:6.1f} M  {shown}"
            print(line, file=sys.stderr, flush=True)
            losses.clear()
        due = time.monotonic() - saved > recipe.checkpoint_seconds
        if rank == 0 and (due or state.step == recipe.steps):
            state.save(checkpoint)
            saved = time.monotonic()
    distributed.barrier()
    distributed.destroy_process_group()


def train(recipe: Recipe, shape: Shape, checkpoint: Path) -> None:
    """Train to the end of the recipe, from the checkpoint if there is one; 100 steps are a line on stderr."""
    with tempfile.TemporaryDirectory() as folder:
        meeting = f"file://{folder}/meeting"
        multiprocessing.spawn(_work, (recipe, shape, checkpoint, meeting), nprocs=recipe.workers)
