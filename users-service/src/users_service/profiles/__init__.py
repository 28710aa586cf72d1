"""Profiles: what a person shows of themselves in one tenant."""
