"""Notifications: numbered per person and tenant, stored until read, pushed to every device."""
