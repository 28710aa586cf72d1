"""Deleting a tenant: marked at once, erased after a grace period, in which an operator can take it back."""
