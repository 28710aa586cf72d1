"""The client side: the listening server, one request or WebSocket from its first byte to its last, its log line."""
