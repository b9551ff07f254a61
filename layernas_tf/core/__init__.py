"""What knows of no search: errors, the binaries' wrapper, files."""
