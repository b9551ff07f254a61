"""One search from end to end: config, task, loop, finals and results."""
