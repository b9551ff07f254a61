"""The public functions, which hand the library its spaces and its exporter."""
