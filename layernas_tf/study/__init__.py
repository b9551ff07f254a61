"""Trials on record: storage, replay, reading and the Optuna sampler."""
