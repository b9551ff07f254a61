"""Many runs of many algorithms on one benchmark table, and what they show."""
