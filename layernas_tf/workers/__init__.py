"""Where evaluators run: in this process, in a child process or through Ray."""
