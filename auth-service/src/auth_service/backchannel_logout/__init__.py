"""Informing OAuth clients that a sign-in has ended (OpenID Connect Back-Channel Logout 1.0)."""
