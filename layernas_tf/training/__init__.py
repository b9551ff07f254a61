"""One network to weights: recipes, segments, checkpoints, devices, inheritance."""
