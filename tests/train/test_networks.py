"""The two networks and the pre-training: what they read, what they give, and that a masked event is really masked."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from feature_train_serve.features.events import KINDS
from feature_train_serve.train.models import load_model
from feature_train_serve.train.network import NETWORKS, MaskedEvents, SequenceTransformer, run
from feature_train_serve.train.network_size import EMBEDDING

from mlops_obs.errors import PlatformError


def tensors(rows: int, statics: int = 3, length: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    kind = rng.integers(1, len(KINDS) + 1, (rows, length))
    kind[:, :2] = 0  # padding
    return rng.normal(size=(rows, statics)).astype(np.float32), kind, rng.normal(size=(rows, length, 2)).astype(np.float32)


@pytest.mark.parametrize("kind", sorted(NETWORKS))
def test_a_network_gives_probabilities_and_a_pooled_vector_within_bounds(kind: str) -> None:
    torch.manual_seed(1)

    probability, pooled = run(NETWORKS[kind](3, 8, 1), tensors(40))

    assert (probability.shape, pooled.shape) == ((40,), (40, EMBEDDING))
    assert ((probability > 0) & (probability < 1)).all()
    assert (np.abs(pooled) <= 1).all()
    assert pooled.std(axis=0).min() > 0


def test_the_feature_transformer_reads_features_and_no_events() -> None:
    torch.manual_seed(1)
    network = NETWORKS["ft_transformer"](3, 8, 1)
    static, kind, value = tensors(10)

    same = run(network, (static, np.zeros_like(kind), np.zeros_like(value)))[0]
    other = run(network, (static + 1, kind, value))[0]

    assert np.array_equal(run(network, (static, kind, value))[0], same)
    assert not np.allclose(run(network, (static, kind, value))[0], other)


def test_pre_training_learns_to_guess_masked_events() -> None:
    torch.manual_seed(1)
    rows = 64
    kind = torch.arange(rows).remainder(3).add(4).unsqueeze(1).repeat(1, 8)  # each customer repeats one kind of event
    batch = (torch.zeros(rows, 2), kind, torch.ones(rows, 8, 2))
    guess = MaskedEvents(SequenceTransformer(2, 16, 1), 16)
    optimizer = torch.optim.Adam(guess.parameters(), lr=0.02)
    losses = []

    for _ in range(40):
        loss = guess(*batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

    assert losses[-1] < 0.3 * losses[0]


def test_a_masked_event_shows_neither_its_kind_nor_its_amount(monkeypatch: pytest.MonkeyPatch) -> None:
    network = SequenceTransformer(2, 8, 1).eval()
    seen: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []

    def encode(static: torch.Tensor, kind: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append((static, kind, value))
        return static, torch.zeros(len(kind), 1 + kind.shape[1], 8)

    monkeypatch.setattr(network, "encode", encode)
    torch.manual_seed(3)
    kind = torch.full((50, 6), 5)

    MaskedEvents(network, 8)(torch.ones(50, 2), kind, torch.full((50, 6, 2), 7.0))

    static, shown, value = seen[0]
    masked = shown != kind
    assert 0.1 < masked.float().mean() < 0.4
    assert (value[..., 0][masked] == 0).all()
    assert (value[..., 0][~masked] == 7).all()
    assert (static == 0).all()


def test_a_batch_without_an_event_has_a_loss_of_nothing() -> None:
    guess = MaskedEvents(SequenceTransformer(2, 8, 1), 8)

    loss = guess(torch.ones(4, 2), torch.zeros(4, 6, dtype=torch.int64), torch.zeros(4, 6, 2))

    assert loss.item() == 0.0


@pytest.mark.parametrize("kind", ["pickle", None, "boosted_forest"])
def test_a_model_of_an_unknown_kind_is_refused(kind: str | None) -> None:
    with pytest.raises(PlatformError, match="OBS-PKG-004"):
        load_model({"model": kind, "features": ["a"], "width": 8, "layers": 1}, b"")


@pytest.mark.parametrize("kind", ["boosted_trees", "sequence_transformer"])
def test_weights_that_are_not_the_models_are_refused(kind: str) -> None:
    with pytest.raises(PlatformError, match="OBS-PKG-005"):
        load_model({"model": kind, "features": ["a"], "width": 8, "layers": 1}, b"not weights")
