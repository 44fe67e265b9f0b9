"""Expectations: what is agreed about a model's columns, derived from its reference, edited by people, checked on every window."""

from mlops_obs.collectors.drift.expectations.check import Check, ExpectationMeter, Outcome, check, failures
from mlops_obs.collectors.drift.expectations.derive import derive, expectations_of, section_from_profile
from mlops_obs.collectors.drift.expectations.document import Expectation, parse_expectations, render_expectations
from mlops_obs.collectors.drift.expectations.observe import Observed, observe_block, observe_profile

__all__ = [
    "Check",
    "Expectation",
    "ExpectationMeter",
    "Observed",
    "Outcome",
    "check",
    "derive",
    "expectations_of",
    "failures",
    "observe_block",
    "observe_profile",
    "parse_expectations",
    "render_expectations",
    "section_from_profile",
]
