"""Signing in: the password is verified behind a throttle, a tenant is chosen, a session is opened."""
