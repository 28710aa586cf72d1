"""The page behind a mailed invitation. users-service has the invitations; a person accepts one here, signed in."""
