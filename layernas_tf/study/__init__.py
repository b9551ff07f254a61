"""The record of a search: its trials, their storage and replay, an Optuna sampler."""
