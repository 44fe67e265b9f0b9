"""Statistics of two samples by the names the literature has for them: counts or sketches in, numbers out, no verdicts.

Every function takes both samples as counts. The trap that all of them avoid: a reference is a sample too, and a test that takes its
shares as exact alarms on identical data.
"""

from mlops_obs.collectors.drift.statistics.divergences import (
    hellinger,
    jensen_shannon_distance,
    jensen_shannon_divergence,
    linf,
    psi,
    total_variation,
)
from mlops_obs.collectors.drift.statistics.homogeneity import homogeneity, homogeneity_chi_square
from mlops_obs.collectors.drift.statistics.multiplicity import holm
from mlops_obs.collectors.drift.statistics.ordered import kolmogorov_smirnov, kolmogorov_smirnov_p_value, quantiles, wasserstein_1

__all__ = [
    "hellinger",
    "holm",
    "homogeneity",
    "homogeneity_chi_square",
    "jensen_shannon_distance",
    "jensen_shannon_divergence",
    "kolmogorov_smirnov",
    "kolmogorov_smirnov_p_value",
    "linf",
    "psi",
    "quantiles",
    "total_variation",
    "wasserstein_1",
]
