"""OpenID Connect: ID tokens, userinfo, discovery."""
