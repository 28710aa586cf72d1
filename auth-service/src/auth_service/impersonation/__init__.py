"""Impersonation: an operator of the fleet acts as a person in one tenant, for a quarter of an hour."""
