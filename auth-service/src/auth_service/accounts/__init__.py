"""Accounts: who a person is to this service, and the hash of their password."""
