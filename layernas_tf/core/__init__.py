"""The base of every other folder: errors, the wrapper of the binaries, files."""
