"""API keys: a program acts for a person in one of their tenants, without the person's password or session."""
