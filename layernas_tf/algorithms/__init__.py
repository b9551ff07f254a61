"""Search algorithms: ask/tell objects that train nothing and do no I/O."""
