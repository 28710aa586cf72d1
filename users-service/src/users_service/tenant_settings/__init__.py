"""What a tenant decides for itself: how its members sign in, and how pages and mails look."""
