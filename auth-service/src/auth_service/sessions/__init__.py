"""Sessions: one a sign-in, in one tenant for life, carried on by refresh tokens until somebody or something ends it."""
