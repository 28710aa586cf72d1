"""Members: the people of a tenant, their roles, and the end of their memberships."""
