"""What networks are made of: blocks, heads and the Keras builder."""
