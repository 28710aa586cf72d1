"""Tickets: stand for the bearer of a token where a client cannot send one, such as a browser's WebSocket."""
