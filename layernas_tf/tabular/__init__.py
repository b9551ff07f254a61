"""What a benchmark table is."""
