"""Model back ends: detectors, pose estimators and vision-language models."""
