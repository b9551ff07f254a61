"""Networks that are trained with the rounding of int8 (QAT)."""
