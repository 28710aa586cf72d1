"""The upstream identities that a person has linked to their account."""
