"""The declarative route table: each public path, its service and its access rules. Any other path is 404."""
