"""What a package keeps of its customers: the drift reference with everything that an alarm needs to explain itself, and not one row.

Columns in the model's order, the prediction, the pooled vector. Sections: `natural` (how much a feature moves with the
clock by itself), `joint` (how features move together), `impact` (what a change costs in AUC and in money),
`expectations` (types, ranges, shares of nulls).

The trap: the reference must be of the population that is served, not of the one that was learnt from. It is the live slice, transformed
by the offline path: whatever serving does differently, it does differently from this.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from feature_train_serve.features.definitions import CATEGORIES
from feature_train_serve.train.models import Model, Scores
from feature_train_serve.train.network_size import EMBEDDING
from feature_train_serve.train.preprocess import Preprocess
from feature_train_serve.train.slices import Prepared
from mlops_obs.collectors.drift.alarms.natural import SECTION as NATURAL
from mlops_obs.collectors.drift.alarms.natural import section_from_blocks as natural_section
from mlops_obs.collectors.drift.attribution.build import section_from_block
from mlops_obs.collectors.drift.attribution.impact import SECTION as IMPACT
from mlops_obs.collectors.drift.columns import MISSING_CODE, Block, Categories, Column, ColumnKind, Role, Schema
from mlops_obs.collectors.drift.expectations.derive import SECTION as EXPECTATIONS
from mlops_obs.collectors.drift.expectations.derive import section_from_profile
from mlops_obs.collectors.drift.joint import SECTION as JOINT
from mlops_obs.collectors.drift.joint import section_from_blocks as joint_section
from mlops_obs.collectors.drift.reference import ReferenceProfile

PREDICTION, POOLED = "prediction", "embedding"
LOSS_GIVEN_DEFAULT = 0.45
"""Share of the loan that is lost when a customer defaults: the Basel foundation approach's figure for senior unsecured claims."""

_LOAN = "loan_amount"
_ASKED_ROWS = 160  # the model is asked twice per cell of each feature: on two cores more would double the training's time
_ROW = "row"


def schema(names: Iterable[str], *, pooled: bool) -> Schema:
    """Return the columns that drift is watched on: the model's, its prediction, and the pooled vector of a network."""
    columns = [Column(name, ColumnKind.CATEGORY if name in CATEGORIES else ColumnKind.NUMBER) for name in names]
    columns.append(Column(PREDICTION, role=Role.PREDICTION))
    if pooled:
        columns.append(Column(POOLED, ColumnKind.EMBEDDING, Role.PREDICTION, size=EMBEDDING))
    return Schema(tuple(columns))


def block_of(names: Iterable[str], columns: np.ndarray, scores: Scores | None) -> Block:
    """Return rows as drift reads them: codes are categories, and what a model that failed did not say is missing.

    Args:
        names: of the model's columns.
        columns: (n, F) float64.
        scores: of the same rows, None if the model failed.
    """
    block: dict[str, np.ndarray | Categories] = {}
    for place, name in enumerate(names):
        values = np.ascontiguousarray(columns[:, place])
        block[name] = _categories(name, values) if name in CATEGORIES else values
    block[PREDICTION] = scores.probability.astype(np.float64) if scores else np.full(len(columns), np.nan)
    if scores and scores.embedding is not None:
        block[POOLED] = scores.embedding
    return block


def reference_of(
    preprocess: Preprocess, model: Model, importance: dict[str, float], live: Prepared, judged: Prepared, recent: Prepared
) -> ReferenceProfile:
    """Profile the `live` slice; learn costs from the `judged` one, which has labels, and variation from the `recent` week.

    Args:
        preprocess: the model's own transformation.
        model: as it will be served.
        importance: by column, in AUC lost.
        live: the population of now.
        judged: the slice before, with labels.
        recent: the last week, in time order.
    """
    names = preprocess.names
    judged_scores, scores = model.score(judged.columns, judged.tensors), model.score(live.columns, live.tensors)
    now = block_of(names, live.columns, scores)
    profile = ReferenceProfile.from_block(now, schema(names, pooled=scores.embedding is not None))
    week = block_of(names, recent.columns, model.score(recent.columns, recent.tensors) if len(recent.columns) else None)
    natural = natural_section(profile, [week], by_time=True)
    profile = profile.with_section(NATURAL, natural) if natural else profile
    profile = profile.with_section(EXPECTATIONS, section_from_profile(profile))
    ranked = sorted(importance, key=lambda name: (-importance[name], name))
    joint = joint_section(profile, [now], ranked)
    profile = profile.with_section(JOINT, joint) if joint else profile
    return _with_impact(profile, preprocess, model, importance, judged, judged_scores)


def _with_impact(
    profile: ReferenceProfile, preprocess: Preprocess, model: Model, importance: dict[str, float], judged: Prepared, scores: Scores
) -> ReferenceProfile:
    bad = int((judged.label == 1).sum())
    if not 0 < bad < len(judged.label):
        return profile  # a table without defaults, or with nothing else, says nothing about costs

    def predict(block: Block) -> np.ndarray:
        rows = _codes(block[_ROW]).astype(np.int64)
        columns = np.column_stack([_codes(block[name]) for name in preprocess.names])
        return model.score(columns, preprocess.tensors(columns, judged.rows.take(rows))).probability

    loan = np.nan_to_num(judged.rows.columns[_LOAN]).clip(min=0)
    features = {name: data for name, data in block_of(preprocess.names, judged.columns, None).items() if name in preprocess.names}
    section = section_from_block(
        profile,
        {**features, _ROW: np.arange(len(judged.label), dtype=np.float64)},
        prediction=scores.probability,
        label=judged.label,
        money=LOSS_GIVEN_DEFAULT * loan,
        importance=importance,
        predict=predict,
        sample=_ASKED_ROWS,
    )
    return profile.with_section(IMPACT, section)


def _categories(name: str, codes: np.ndarray) -> Categories:
    lacking = np.isnan(codes)
    return Categories(np.where(lacking, MISSING_CODE, np.where(lacking, 0, codes)).astype(np.int64), CATEGORIES[name])


def _codes(data: object) -> np.ndarray:
    if isinstance(data, Categories):
        return np.where(data.codes < 0, np.nan, data.codes.astype(np.float64))
    return np.asarray(data, dtype=np.float64)
