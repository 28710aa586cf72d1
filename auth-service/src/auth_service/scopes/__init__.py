"""Scopes: the ones that this service owns, the registry of all, and which of them a person has."""
