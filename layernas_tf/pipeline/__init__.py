"""One search end to end: config, task, loop, finals and results."""
