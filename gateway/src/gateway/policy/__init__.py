"""What is decided before a request is forwarded: identity, tenant, limits, scopes, CORS."""
