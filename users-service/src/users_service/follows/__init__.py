"""Follows: members of a tenant who want to hear of what another member publishes."""
