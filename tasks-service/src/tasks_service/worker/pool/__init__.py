"""CPU-heavy work in child processes: the pool, the child, and what they send each other."""
