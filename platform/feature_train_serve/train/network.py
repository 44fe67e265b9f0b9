"""The networks of the reference stack: a transformer over a customer's newest events, and an FT-Transformer over the features alone.

Both give log-odds of default and a pooled vector of `EMBEDDING` numbers between -1 and 1: what the network made of a customer just
before it decided. That vector is exported and watched, for it moves when features move together in a new way, which no feature shows alone.

The trap: a masked event must not be told by its padding or its value, or the pre-training learns to copy.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from feature_train_serve.features.events import KINDS
from feature_train_serve.train.network_size import EMBEDDING

_MASK = len(KINDS) + 1  # event kinds are 1..len(KINDS), 0 pads
_MASKED_SHARE = 0.25


def _encoder(width: int, layers: int) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(width, nhead=4, dim_feedforward=2 * width, dropout=0.1, batch_first=True, norm_first=True)
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)


class SequenceTransformer(nn.Module):
    """Events as tokens, the static features as the first one.

    Args:
        statics: number of static features.
        width: width of a token.
        layers: encoder layers.
    """

    def __init__(self, statics: int, width: int, layers: int) -> None:
        super().__init__()
        self.static = nn.Sequential(nn.Linear(statics, width), nn.GELU(), nn.Linear(width, width))
        self.kind = nn.Embedding(len(KINDS) + 2, width, padding_idx=0)
        self.value = nn.Linear(2, width)
        self.encoder = _encoder(width, layers)
        self.pool = nn.Sequential(nn.LayerNorm(2 * width), nn.Linear(2 * width, EMBEDDING), nn.Tanh())
        self.head = nn.Sequential(nn.LayerNorm(2 * width), nn.Linear(2 * width, 1))
        self.from_pool = nn.Linear(EMBEDDING, 1, bias=False)

    def encode(self, static: torch.Tensor, kind: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the customer's token (n, width) and all encoded tokens (n, 1 + L, width)."""
        person = self.static(static)
        tokens = torch.cat([person.unsqueeze(1), self.kind(kind) + self.value(value)], dim=1)
        padding = torch.cat([torch.zeros_like(kind[:, :1], dtype=torch.bool), kind == 0], dim=1)
        return person, self.encoder(tokens, src_key_padding_mask=padding)

    def forward(self, static: torch.Tensor, kind: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (n,) log-odds and (n, EMBEDDING) pooled vectors."""
        person, encoded = self.encode(static, kind, value)
        both = torch.cat([encoded[:, 0], person], dim=1)
        pooled = self.pool(both)
        return (self.head(both) + self.from_pool(pooled)).squeeze(-1), pooled


class MaskedEvents(nn.Module):
    """Masked-event pre-training (after BERT, Devlin et al. 2019): guess the kind and the amount of events that were blanked out."""

    def __init__(self, network: SequenceTransformer, width: int) -> None:
        super().__init__()
        self.network = network
        self.kind = nn.Linear(width, len(KINDS) + 1)
        self.amount = nn.Linear(width, 1)

    def forward(self, static: torch.Tensor, kind: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Return the loss of one batch; which events are masked comes from torch's generator."""
        masked = (torch.rand(kind.shape) < _MASKED_SHARE) & (kind > 0)
        seen_kind = torch.where(masked, torch.full_like(kind, _MASK), kind)
        seen_value = torch.stack([torch.where(masked, torch.zeros_like(value[..., 0]), value[..., 0]), value[..., 1]], dim=-1)
        # The static features sum up the very events that are masked: without them the sequence has to explain itself.
        _, encoded = self.network.encode(torch.zeros_like(static), seen_kind, seen_value)
        tokens = encoded[:, 1:][masked]
        if not len(tokens):
            return encoded.sum() * 0.0
        guess = nn.functional.cross_entropy(self.kind(tokens), kind[masked])
        amount = nn.functional.mse_loss(self.amount(tokens).squeeze(-1), value[..., 0][masked])
        return guess + amount


class FeatureTransformer(nn.Module):
    """FT-Transformer (Gorishniy et al. 2021): each feature is a token, its value times a vector of its own plus a bias; [CLS] is read.

    Args:
        statics: number of static features.
        width: width of a token.
        layers: encoder layers.
    """

    def __init__(self, statics: int, width: int, layers: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(statics, width) / width**0.5)
        self.bias = nn.Parameter(torch.randn(statics, width) / width**0.5)
        self.first = nn.Parameter(torch.randn(1, 1, width) / width**0.5)
        self.encoder = _encoder(width, layers)
        self.pool = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, EMBEDDING), nn.Tanh())
        self.head = nn.Sequential(nn.LayerNorm(width), nn.GELU(), nn.Linear(width, 1))
        self.from_pool = nn.Linear(EMBEDDING, 1, bias=False)

    def forward(self, static: torch.Tensor, kind: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # noqa: ARG002 - one signature for all networks
        """Return (n,) log-odds and (n, EMBEDDING) pooled vectors; the events are not read."""
        tokens = static.unsqueeze(-1) * self.weight + self.bias
        encoded = self.encoder(torch.cat([self.first.expand(len(static), -1, -1), tokens], dim=1))[:, 0]
        pooled = self.pool(encoded)
        return (self.head(encoded) + self.from_pool(pooled)).squeeze(-1), pooled


NETWORKS: dict[str, type[SequenceTransformer] | type[FeatureTransformer]] = {
    "sequence_transformer": SequenceTransformer,
    "ft_transformer": FeatureTransformer,
}


def run(model: nn.Module, tensors: tuple[Any, Any, Any], batch: int = 2048) -> tuple[Any, Any]:
    """Return P(default) (n,) and pooled vectors (n, EMBEDDING) as float32 numpy arrays, in batches so that memory stays small."""
    model.eval()
    parts = [torch.from_numpy(array) for array in tensors]
    odds, pooled = [], []
    with torch.inference_mode():
        for start in range(0, max(1, len(parts[0])), batch):
            found, vectors = model(*(part[start : start + batch] for part in parts))
            odds.append(torch.sigmoid(found))
            pooled.append(vectors)
    return torch.cat(odds).numpy(), torch.cat(pooled).numpy()
