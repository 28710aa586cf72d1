"""Invitations by mail: an admin invites an address, and an account that has verified it becomes a member."""
