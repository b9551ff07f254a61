"""Benchmark tables: their types, and loading a user's own."""
