"""The three revisions that the demo ships, as data.

v1 knows the application and the bureau. v2 adds behaviour and a longer sequence, and is plainly better. v3 adds a comparison with peers,
looks a little better still offline, and breaks in production: its author trained on a warehouse extract, which keeps money in cents,
and wrote `amount_unit: cents` into the package. That is true of the extract and wrong for the online store, which serves currency
units. Nothing offline can see it; nothing in the rollout knows of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from feature_train_serve.features.definitions import FEATURE_NAMES

AmountUnit = Literal["currency", "cents"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one revision is built.

    Args:
        revision: its name.
        features: columns of the training set that it reads.
        sequence_length: newest events that the transformer reads.
        epochs: passes over the training slice.
        width: width of the transformer.
        layers: encoder layers.
        amount_unit: unit of money in the table the model is trained on.
        peers: whether it compares a customer with peers of the same channel and spending.
    """

    revision: str
    features: tuple[str, ...]
    sequence_length: int
    epochs: int
    width: int = 32
    layers: int = 1
    amount_unit: AmountUnit = "currency"
    peers: bool = False


RECIPES: tuple[Recipe, ...] = (
    Recipe("v1", ("loan_amount", "channel", "bureau_score", "bureau_age_days"), sequence_length=2, epochs=2),
    Recipe("v2", FEATURE_NAMES, sequence_length=24, epochs=4),
    Recipe("v3", FEATURE_NAMES, sequence_length=24, epochs=5, amount_unit="cents", peers=True),
)
