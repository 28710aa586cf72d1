"""The feed of ended memberships, changed roles and suspended tenants, which end tokens early."""
