"""People: a projection of users-service's memberships, for names and for invitations."""
