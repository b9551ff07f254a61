"""Choices and bounds: types, search space, budget, chain and candidates."""
