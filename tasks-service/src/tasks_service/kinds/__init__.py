"""The kinds of jobs: a module each, what they calculate in child processes, and the registry of them."""
