"""Upstream OpenID Connect issuers that people sign in through: their registry, and the protocol with them."""
