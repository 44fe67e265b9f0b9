"""The three revisions that the demo ships, and a challenger, as data.

v1 is boosted trees on the application and the bureau, as a lender's first model is. v2 is a transformer over the transactions, pre-trained
on masked events, and plainly better. v3 adds a comparison with peers,
looks a little better still offline, and breaks in production: its author trained on a warehouse extract, which keeps money in cents,
and wrote `amount_unit: cents` into the package. That is true of the extract and wrong for the online store, which serves currency
units. Nothing offline can see it; nothing in the rollout knows of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from feature_train_serve.features.definitions import FEATURE_NAMES

AmountUnit = Literal["currency", "cents"]
ModelKind = Literal["boosted_trees", "sequence_transformer", "ft_transformer"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one revision is built.

    Args:
        revision: its name.
        model: what learns.
        features: columns of the training set that it reads.
        sequence_length: newest events that the transformer reads.
        epochs: passes over the training slice; for boosted trees the most trees.
        pretrain_epochs: passes over the same events without their labels, before that; sequence transformer only.
        width: width of the transformer.
        layers: encoder layers.
        amount_unit: unit of money in the table the model is trained on.
        peers: whether it compares a customer with peers of the same channel and spending.
    """

    revision: str
    model: ModelKind
    features: tuple[str, ...]
    sequence_length: int = 2
    epochs: int = 4
    pretrain_epochs: int = 0
    width: int = 32
    layers: int = 1
    amount_unit: AmountUnit = "currency"
    peers: bool = False


RECIPES: tuple[Recipe, ...] = (
    Recipe("v1", "boosted_trees", ("loan_amount", "channel", "bureau_score", "bureau_age_days"), epochs=60),
    Recipe("v2", "sequence_transformer", FEATURE_NAMES, sequence_length=24, epochs=3, pretrain_epochs=1),
    Recipe("v3", "sequence_transformer", FEATURE_NAMES, sequence_length=24, epochs=3, pretrain_epochs=1, amount_unit="cents", peers=True),
)
"""What the demo trains and ships, in this order."""

CHALLENGERS: tuple[Recipe, ...] = (
    Recipe("ft", "ft_transformer", FEATURE_NAMES, epochs=4),
    Recipe("trees", "boosted_trees", FEATURE_NAMES, epochs=100),
)
"""Trained on request (`--challengers`): an FT-Transformer, and boosted trees on all features."""
