"""What is kept of a column instead of its rows: counts that merge exactly, in any order, to the same bytes."""

from mlops_obs.collectors.drift.sketches.categories import CategorySketch
from mlops_obs.collectors.drift.sketches.numbers import NumberSketch

__all__ = ["CategorySketch", "NumberSketch"]
