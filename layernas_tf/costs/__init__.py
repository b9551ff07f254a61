"""What an architecture costs: sums and maxima along the chain, and budgets on them."""
