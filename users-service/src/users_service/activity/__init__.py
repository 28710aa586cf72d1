"""What people did in a tenant: a log that follows the events of all services."""
