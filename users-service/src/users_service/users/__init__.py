"""The directory: who is in the caller's tenant."""
