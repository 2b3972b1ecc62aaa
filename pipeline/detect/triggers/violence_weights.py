"""Placeholder."""

FEATURES = (
    "area_mean",
    "area_max",
    "area_std",
    "energy_mean",
    "energy_max",
    "energy_std",
    "flow_peak_mean",
    "flow_peak_max",
    "flow_peak_std",
    "flow_mean_mean",
    "flow_mean_max",
    "flow_mean_std",
    "disorder_mean",
    "disorder_max",
    "disorder_std",
    "change_mean",
    "change_max",
    "change_std",
    "spread_mean",
    "spread_max",
    "spread_std",
    "limbs_mean",
    "limbs_max",
    "limbs_std",
    "people_mean",
    "people_max",
    "nearness",
    "overlap",
)
MEAN = (0.0,) * 28
SCALE = (1.0,) * 28
WEIGHT = (0.0,) * 28
INTERCEPT = 0.0
