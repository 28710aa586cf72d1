"""Tickets: replace a token where a client cannot send one, such as a browser's WebSocket."""
