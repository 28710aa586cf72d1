"""Registering a person: an account here, and their tenant, membership and profile at users-service."""
