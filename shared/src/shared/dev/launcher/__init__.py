"""Run the fleet as processes on this machine and keep them alive: `make up`, `make run-…`, the end-to-end tests."""
