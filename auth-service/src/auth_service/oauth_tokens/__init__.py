"""The token endpoint and its grants, introspection and revocation (RFC 6749, 7662, 7009)."""
