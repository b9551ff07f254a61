"""Training one network: recipes, segments, checkpoints, devices, inheritance."""
