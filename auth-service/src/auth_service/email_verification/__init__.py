"""Proving that an account's email address is its person's, at registration and when it changes."""
