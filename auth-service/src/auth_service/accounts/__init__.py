"""Accounts: who a person is to the fleet, and how they prove it."""
