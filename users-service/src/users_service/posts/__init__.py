"""Posts: what people of a tenant write for each other."""
