"""The part of a registration that belongs here: the person, their tenant or membership, and their profile."""
