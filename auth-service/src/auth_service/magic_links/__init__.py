"""Signing in by a mailed link, in the browser that asked for it."""
