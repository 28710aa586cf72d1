"""The declarative route table: what exists, who serves it, and what a caller needs. Everything else is 404."""
