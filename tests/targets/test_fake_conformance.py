"""The fake target keeps the promises of the real ones: what is tested against it holds for them."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from mlops_obs.testing.conformance import TargetConformance
from mlops_obs.testing.targets import FakeTarget, FinishingTarget


class FakeRig:
    patience = 2.0
    going_down_is_all_or_nothing = False

    def __init__(self, kind):
        self.target = kind({"v1": 100}, {"v1": self.package("v1")})

    def package(self, revision):
        return f"s3://models/{revision}"

    def meddle(self):
        self.target.force({"v1": 55, "v2": 45})
        return {"v1": 55, "v2": 45}

    def kill(self, revision):
        self.target.lose_way_back(revision, f"{revision} is gone")

    @contextmanager
    def losing_the_answer(self):
        self.target.fail("set_weights", "timeout-after")
        yield

    def unsplittable(self):
        return None

    def lying(self):
        return False

    def snapshot(self):
        return dict(self.target.packages), list(self.target.history)


class TestFakeTarget(TargetConformance):
    # It can always split its traffic, and has no status apart from its route.
    test_a_platform_that_cannot_split_refuses_before_anything_is_changed = None
    test_weights_that_are_only_echoed_are_not_believed = None
    # It needs no last act; FinishingTarget does.
    test_finishing_makes_the_new_revision_the_only_one_and_can_be_repeated = None
    test_finishing_a_revision_without_all_the_traffic_is_a_conflict = None

    @pytest.fixture
    def rig(self):
        return FakeRig(FakeTarget)


class TestFinishingTarget(TargetConformance):
    # It can always split its traffic, and has no status apart from its route.
    test_a_platform_that_cannot_split_refuses_before_anything_is_changed = None
    test_weights_that_are_only_echoed_are_not_believed = None

    @pytest.fixture
    def rig(self):
        return FakeRig(FinishingTarget)
