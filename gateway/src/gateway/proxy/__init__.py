"""Carries requests, answers and WebSockets to the service behind a route and back, streaming both ways."""
