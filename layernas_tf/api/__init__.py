"""The public functions; they pass the search spaces and the exporter to the library."""
