"""`make check`, `make manifests` and `make doctor`: what can be verified without running the tests."""
