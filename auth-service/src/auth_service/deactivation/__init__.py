"""Deactivating accounts, by their person or an operator, and reactivating them."""
