"""Jobs: accepted at once, worked on by the worker, watched by their owner."""
