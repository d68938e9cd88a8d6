"""The Criteo 1TB click-prediction workload and its variants, for both frameworks and both tiers."""
