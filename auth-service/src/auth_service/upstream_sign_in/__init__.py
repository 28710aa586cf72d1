"""Signing in, signing up and linking through an upstream OpenID Connect issuer, in a browser."""
