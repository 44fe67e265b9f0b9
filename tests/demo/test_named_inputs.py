"""What was named of a revision's inputs is read from history, also after the revision is gone."""

from __future__ import annotations

from mlops_obs.cli.demo.inputs import in_words, named
from mlops_obs.cli.demo.outcome import Named
from mlops_obs.slo.counters import Series


class History:
    def __init__(self, **series: list[Series]) -> None:
        self._series = series

    def series(self, metric, matchers, start, end):
        assert matchers == {"service": "credit-risk"}
        return self._series.get(metric, [])


def one(feature, kind, samples, revision="v3"):
    return Series({"service": "credit-risk", "revision": revision, "feature": feature, "kind": kind}, samples)


def test_each_feature_is_named_once_at_its_first_moment_whichever_replica_said_so():
    source = History(
        mlops_obs_drift_alarms_total=[
            one("loan_amount", "unit", [(1.0, 0.0), (4.0, 1.0), (5.0, 2.0)]),
            one("loan_amount", "unit", [(3.0, 1.0)]),
        ],
        mlops_obs_skew_named=[one("spend_30d", "unit", [(2.0, 1.0)])],
    )

    assert named(source, "credit-risk", 0.0, 9.0) == [
        Named("skew", "v3", "spend_30d", "unit", 2.0),
        Named("drift", "v3", "loan_amount", "unit", 3.0),
    ]


def test_a_counter_that_stayed_at_zero_named_nothing():
    source = History(mlops_obs_drift_alarms_total=[one("loan_amount", "unit", [(1.0, 0.0)])])

    assert named(source, "credit-risk", 0.0, 9.0) == []


def test_the_words_group_features_by_kind_and_keep_silent_about_nothing():
    found = [
        Named("drift", "v3", "spend_30d", "unit", 1.0),
        Named("drift", "v3", "loan_amount", "unit", 2.0),
        Named("drift", "v3", "prediction", "missing", 2.0),
        Named("skew", "v3", "loan_amount", "unit", 3.0),
    ]
    false_alarm = Named("drift", "v1", "channel", "frequencies", 3.0)

    words = "drift: loan_amount, spend_30d (unit), prediction (missing); skew: loan_amount (unit)"
    assert in_words(found, "v3") == words
    assert in_words([*found, false_alarm], "v3") == f"{words}. Of v1: drift: channel (frequencies)"
    assert in_words([], "v3") == "nothing was named"
