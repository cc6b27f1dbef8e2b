"""The network: the `llama` architecture, small.

Rotary embedding turns neighbouring pairs (0,1), (2,3), ...: the layout llama.cpp expects, so that the
weights are exported as they are.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tools.demo_model.shape import Shape


class Block(nn.Module):
    """Attention, then a gated feed-forward network, each added to the stream."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        d, kv = shape.width, shape.kv_heads * shape.head_size
        self.attention_norm = nn.Parameter(torch.ones(d))
        self.ffn_norm = nn.Parameter(torch.ones(d))
        # One matrix for q, k and v, and one for gate and up: fewer, larger products are faster on a CPU.
        self.qkv = nn.Linear(d, d + 2 * kv, bias=False)
        self.out = nn.Linear(d, d, bias=False)
        self.gate_up = nn.Linear(d, 2 * shape.ffn, bias=False)
        self.down = nn.Linear(shape.ffn, d, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        s = self.shape
        batch, length, _ = x.shape
        h = F.rms_norm(x, (s.width,), self.attention_norm, s.norm_eps)
        qkv = self.qkv(h).view(batch, length, s.heads + 2 * s.kv_heads, s.head_size)
        qk, v = qkv[:, :, : s.heads + s.kv_heads], qkv[:, :, s.heads + s.kv_heads :]
        even, odd = qk[..., 0::2], qk[..., 1::2]
        qk = torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2).to(v.dtype)
        group = s.heads // s.kv_heads
        q = qk[:, :, : s.heads].transpose(1, 2)
        k = qk[:, :, s.heads :].repeat_interleave(group, 2).transpose(1, 2)
        v = v.repeat_interleave(group, 2).transpose(1, 2)
        # Plain products: at these lengths torch's fused attention takes three times as long in its backward
        # pass.
        scores = q @ (k * s.head_size**-0.5).transpose(-1, -2) + mask.to(q.dtype)
        y = (torch.softmax(scores, -1, dtype=q.dtype) @ v).transpose(1, 2).reshape(batch, length, s.width)
        x = x + self.out(y)
        gate, up = self.gate_up(F.rms_norm(x, (s.width,), self.ffn_norm, s.norm_eps)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


class Trunk(nn.Module):
    """Ids to the normalized hidden state at every position."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.Parameter(torch.ones(shape.width))
        frequencies = shape.rope_theta ** (-torch.arange(0, shape.head_size, 2) / shape.head_size)
        angles = torch.outer(torch.arange(shape.context).float(), frequencies)
        self.register_buffer("cos", angles.cos()[:, None], persistent=False)
        self.register_buffer("sin", angles.sin()[:, None], persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        length = ids.shape[1]
        mask = torch.full((length, length), float("-inf")).triu(1)
        x = self.embedding(ids)
        for block in self.blocks:
            x = block(x, self.cos[:length], self.sin[:length], mask)
        return F.rms_norm(x, (self.shape.width,), self.norm, self.shape.norm_eps)


class Model(nn.Module):
    """Trunk and head. The head has a row per id that ever occurs in a reply, and one row for all others.

    The last row stands for every id that no reply holds: it is learnt as one class, weighted by how many
    ids it stands for, so that at any temperature those ids stay improbable. Export copies it to each of them.
    """

    def __init__(self, shape: Shape, reply_ids: list[int]) -> None:
        super().__init__()
        self.shape = shape
        self.reply_ids = reply_ids
        self.trunk = Trunk(shape)
        self.head = nn.Linear(shape.width, len(reply_ids) + 1, bias=False)
        others = torch.zeros(len(reply_ids) + 1)
        others[-1] = torch.tensor(float(max(1, shape.vocabulary - len(reply_ids)))).log()
        self.register_buffer("class_weight", others, persistent=False)
        column = torch.full((shape.vocabulary,), -100)
        column[torch.tensor(reply_ids)] = torch.arange(len(reply_ids))
        self.register_buffer("column", column, persistent=False)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                # The two matrices that add to the stream start smaller, so that depth does not inflate it.
                small = (2 * shape.layers) ** -0.5 if name.endswith(("out.weight", "down.weight")) else 1.0
                nn.init.normal_(parameter, std=0.02 if "head" in name else small * shape.width**-0.5)

    def loss(self, hidden: Tensor, positions: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy per token (nats) of the ids `targets` after the flat `positions` of `hidden`."""
        logits = self.head(hidden.flatten(0, 1)[positions]).float() + self.class_weight
        return F.cross_entropy(logits, self.column[targets], reduction="none", ignore_index=-100)

    def full_head(self) -> Tensor:
        """The output matrix over the whole vocabulary, as exported."""
        rows = self.head.weight.detach().float()
        full = rows[-1].repeat(self.shape.vocabulary, 1)
        full[torch.tensor(self.reply_ids)] = rows[:-1]
        return full

    def matrices(self) -> list[tuple[nn.Parameter, list[int]]]:
        """The matrices inside the blocks, each with the row counts of the maps stacked in it."""
        kv = self.shape.kv_heads * self.shape.head_size
        stacked = {"qkv": [self.shape.width, kv, kv], "gate_up": [self.shape.ffn] * 2}
        return [
            (layer.weight, stacked.get(name, [layer.weight.shape[0]]))
            for block in self.trunk.blocks
            for name, layer in block.named_children()
        ]

    def weights(self) -> dict[str, Tensor]:
        """The weights under Hugging Face's names for `LlamaForCausalLM`, in float32."""
        s = self.shape
        kv = s.kv_heads * s.head_size
        named = {
            "model.embed_tokens.weight": self.trunk.embedding.weight,
            "model.norm.weight": self.trunk.norm,
            "lm_head.weight": self.full_head(),
        }
        for i, block in enumerate(self.trunk.blocks):
            q, k, v = block.qkv.weight.split((s.width, kv, kv))
            gate, up = block.gate_up.weight.chunk(2)
            layer = {
                "input_layernorm": block.attention_norm,
                "post_attention_layernorm": block.ffn_norm,
                "self_attn.q_proj": q,
                "self_attn.k_proj": k,
                "self_attn.v_proj": v,
                "self_attn.o_proj": block.out.weight,
                "mlp.gate_proj": gate,
                "mlp.up_proj": up,
                "mlp.down_proj": block.down.weight,
            }
            named |= {f"model.layers.{i}.{name}.weight": tensor for name, tensor in layer.items()}
        return {name: tensor.detach().float().contiguous() for name, tensor in named.items()}
