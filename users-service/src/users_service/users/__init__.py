"""The directory: the people of the caller's tenant."""
