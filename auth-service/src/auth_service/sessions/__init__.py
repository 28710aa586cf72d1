"""Sessions: each is one sign-in and one family of refresh tokens; rotation.py rotates them."""
