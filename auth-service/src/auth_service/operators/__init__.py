"""Operators of the fleet: a mailed link makes the account that has verified the address one of them."""
