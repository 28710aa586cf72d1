"""The keys that access tokens are signed with: encrypted in the database, rotated next → active → retired."""
