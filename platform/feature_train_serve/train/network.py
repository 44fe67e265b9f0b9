"""A small transformer over a customer's newest events, with the static features as its first token."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from feature_train_serve.features.events import KINDS


class RiskTransformer(nn.Module):
    """Log-odds of default.

    Args:
        statics: number of static features.
        width: width of a token.
        layers: encoder layers.
    """

    def __init__(self, statics: int, width: int, layers: int) -> None:
        super().__init__()
        self.static = nn.Sequential(nn.Linear(statics, width), nn.GELU(), nn.Linear(width, width))
        self.kind = nn.Embedding(len(KINDS) + 1, width, padding_idx=0)
        self.value = nn.Linear(2, width)
        layer = nn.TransformerEncoderLayer(width, nhead=4, dim_feedforward=2 * width, dropout=0.1, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Sequential(nn.LayerNorm(2 * width), nn.Linear(2 * width, 1))

    def forward(self, static: torch.Tensor, kind: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Return (n,) log-odds."""
        person = self.static(static)
        tokens = torch.cat([person.unsqueeze(1), self.kind(kind) + self.value(value)], dim=1)
        padding = torch.cat([torch.zeros_like(kind[:, :1], dtype=torch.bool), kind == 0], dim=1)
        encoded = self.encoder(tokens, src_key_padding_mask=padding)
        return self.head(torch.cat([encoded[:, 0], person], dim=1)).squeeze(-1)


def probabilities(model: nn.Module, tensors: tuple[Any, Any, Any], batch: int = 2048) -> Any:
    """Return P(default) as a float32 numpy array, in batches so that memory stays small."""
    model.eval()
    parts = [torch.from_numpy(array) for array in tensors]
    with torch.inference_mode():
        rows = [torch.sigmoid(model(*(part[start : start + batch] for part in parts))) for start in range(0, len(parts[0]), batch)]
    return torch.cat(rows).numpy()
