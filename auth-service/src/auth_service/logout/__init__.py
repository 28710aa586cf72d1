"""Signing out of the browser at a client's request (OpenID Connect RP-Initiated Logout 1.0)."""
