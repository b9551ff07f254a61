"""Search spaces by registry name; each is a chain of layers."""
