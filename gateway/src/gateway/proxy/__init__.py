"""Forwards requests and WebSockets to the service of their route, streaming in both directions."""
