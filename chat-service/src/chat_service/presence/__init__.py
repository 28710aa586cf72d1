"""Presence: who is in a room right now, on whichever replica; held in the cache, because it may be lost."""
