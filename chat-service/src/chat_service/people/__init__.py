"""People: who belongs to a tenant, as users-service says; a projection, for names and for who may be invited."""
