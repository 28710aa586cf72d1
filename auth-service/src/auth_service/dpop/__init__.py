"""DPoP (RFC 9449): OAuth clients prove that they have the key to which their tokens are bound."""
