"""Why an alarm matters: what a change costs, since when it is there, and in which segments."""

from mlops_obs.collectors.drift.attribution.build import section_from_block, section_from_blocks
from mlops_obs.collectors.drift.attribution.changepoint import Blocks, since
from mlops_obs.collectors.drift.attribution.concept import LabelLook, concept_result
from mlops_obs.collectors.drift.attribution.costs import cost_of, importances, rank
from mlops_obs.collectors.drift.attribution.explain import explain, with_concept
from mlops_obs.collectors.drift.attribution.impact import Impact, impact_of
from mlops_obs.collectors.drift.attribution.segments import Carriers, carriers

__all__ = [
    "Blocks",
    "Carriers",
    "Impact",
    "LabelLook",
    "carriers",
    "concept_result",
    "cost_of",
    "explain",
    "impact_of",
    "importances",
    "rank",
    "section_from_block",
    "section_from_blocks",
    "since",
    "with_concept",
]
