"""The embedded engine waits and silences as the configuration says: an effect that fires first is gone when its cause is told."""

from __future__ import annotations

import json

from upstream_chain import CHAIN, burn

from mlops_obs.adapters.alert_groups import Timing, due, fold, from_document, to_document
from mlops_obs.paging.plan import plan_of
from mlops_obs.slo.verdict import FiringAlert

PLAN, TIMING = plan_of(CHAIN), Timing(group_wait=10, downstream_group_wait=60)
EFFECT, CAUSE = (FiringAlert("Burn", labels, {}) for labels in (burn("shop", "journey"), burn("features", "freshness", team="data")))


def test_the_effect_waits_and_is_gone_once_its_cause_fires():
    groups = fold({}, [EFFECT], 0, PLAN)
    [effect] = groups.values()
    [cause] = fold(groups, [EFFECT, CAUSE], 30, PLAN).values()

    assert [due(effect, at, TIMING) for at in (59, 60)] == [False, True]
    assert (cause.receiver, [due(cause, at, TIMING) for at in (39, 40)]) == ("data-page", [False, True])


def test_once_the_cause_is_over_an_effect_that_goes_on_is_told():
    groups = fold(fold({}, [EFFECT, CAUSE], 0, PLAN), [EFFECT], 300, PLAN)

    assert [(group.receiver, due(group, 360, TIMING)) for group in groups.values()] == [("web-page", True)]


def test_groups_of_an_older_engine_are_read():
    document = json.loads(json.dumps(to_document(fold({}, [CAUSE], 0, PLAN))))
    for group in document.values():
        del group["wait"]

    assert from_document(document) == fold({}, [CAUSE], 0, PLAN)
