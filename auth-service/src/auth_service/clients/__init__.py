"""The registry of OAuth clients, and how a client authenticates."""
