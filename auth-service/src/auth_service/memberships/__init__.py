"""A projection of users-service's tenants and memberships, for the tokens that are signed here."""
