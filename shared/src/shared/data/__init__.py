"""Databases: engines and roles, transactions, tenancy by row, migrations."""
