"""Tenants, the people in them and their roles: users-service is the authority that all others follow."""
