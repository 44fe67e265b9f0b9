"""A scorer without torch or a store: customers `c0`..`c99` are known, and some ids make it fail in a chosen way."""

from __future__ import annotations

import time

import numpy as np
from feature_train_serve.serve import ray_app
from feature_train_serve.serve.predictor import CustomerNotFound, Scored


class DoubleScorer:
    """`package` is `<anything>/<revision>`."""

    def __init__(self, package, store):
        self.revision = package.rpartition("/")[2]
        self.columns = ("f0", "prediction")
        self.reference = None
        self.limits = {"transactions": 60.0}
        self.collectors = {}
        if self.revision == "broken":
            raise FileNotFoundError("weights.pt is missing")

    def score(self, customers):
        time.sleep(0.003)
        for one in customers:
            if one == "boom":
                raise RuntimeError("amount 120000 is out of range\nsecond line")
            if one == "nan":
                return Scored([float("nan")], np.zeros((1, 2)), {})
            if one == "slow":
                time.sleep(0.5)
            elif not one.removeprefix("c").isdigit():
                raise CustomerNotFound(f"no features for customer {one}")
        values = [int(one.removeprefix("c") if one != "slow" else 0) / 128 for one in customers]
        return Scored(values, np.array([[0.5, value] for value in values]), {"transactions": [1.0] * len(customers)})


def predictor_app(revision, package, store, *, service=ray_app.SERVICE):
    """What RayServeTarget finds by `serving_double:predictor_app`."""
    return ray_app.predictor_app(revision, package, store, service=service, opener=DoubleScorer)


ingress_app = ray_app.ingress_app
