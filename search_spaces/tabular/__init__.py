"""The spaces of published benchmark tables, and readers of the tables."""
