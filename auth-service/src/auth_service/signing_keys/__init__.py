"""The keys of access tokens and ID tokens: encrypted in the database, rotated next → active → retired."""
