"""A transformer's dimensions: what the catalogue says of a model and a GGUF says of itself, in one form."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shape:
    """A transformer's dimensions, as its params.json tells them: counts, and widths in numbers per token.

    A mixture has `experts` in each of its layers, of which a token goes through `active` and all the `shared`
    ones. Multi-head latent attention (MLA) has a `kv_rank`: then every head's keys and values are made from
    one latent vector of that many numbers, and each head's key is `head_size` numbers of which `rope_size`
    carry the position.
    """

    layers: int
    width: int
    heads: int
    kv_heads: int
    head_size: int
    ffn: int
    vocabulary: int
    tied: bool = False
    """Whether the output layer is the embedding, and so is counted once."""
    experts: int = 0
    active: int = 0
    shared: int = 0
    expert_ffn: int = 0
    dense_layers: int = 0
    """Layers before the first that is a mixture."""
    q_rank: int = 0
    kv_rank: int = 0
    rope_size: int = 0
    value_size: int = 0
    """Numbers in a head's value where that is not `head_size`."""

    @property
    def values(self) -> int:
        """Numbers in a head's value."""
        return self.value_size or self.head_size

    @property
    def mixtures(self) -> int:
        """How many layers are mixtures of experts."""
        return self.layers - self.dense_layers if self.experts else 0

    @property
    def attention_parameters(self) -> int:
        """Of one layer."""
        if not self.kv_rank:
            return self.width * (self.heads + self.kv_heads) * (self.head_size + self.values)
        queries = self.q_rank * (self.width + self.heads * self.head_size)
        latent = self.width * (self.kv_rank + self.rope_size)
        unfolded = self.kv_rank * self.heads * (self.head_size - self.rope_size + self.values)
        return queries + latent + unfolded + self.heads * self.values * self.width

    @property
    def routed_parameters(self) -> int:
        """Of one mixture's routed experts, all of them."""
        return 3 * self.width * self.expert_ffn * self.experts

    @property
    def parameters(self) -> int:
        """How many numbers the weights are, norms aside (under 0.01%)."""
        routed = self.routed_parameters + self._always_in_mixture
        feed_forward = self.mixtures * routed + (self.layers - self.mixtures) * 3 * self.width * self.ffn
        embeddings = self.vocabulary * self.width * (1 if self.tied else 2)
        return self.layers * self.attention_parameters + feed_forward + embeddings

    @property
    def active_parameters(self) -> int:
        """How many of them one token is multiplied with, the output layer included."""
        idle = self.routed_parameters * (self.experts - self.active) // self.experts if self.experts else 0
        lookup = 0 if self.tied else self.vocabulary * self.width
        return self.parameters - self.mixtures * idle - lookup

    @property
    def _always_in_mixture(self) -> int:
        """Of one mixture: the router and the shared experts."""
        return self.width * (self.experts + 3 * self.expert_ffn * self.shared)
