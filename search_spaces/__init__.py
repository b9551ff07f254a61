"""Search spaces: each a chain of layers, by registry name."""
