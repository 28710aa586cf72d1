"""Importing accounts of another system, with their password hashes."""
