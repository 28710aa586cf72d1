"""Rooms: public, private and direct, and who is a member of which."""
