"""The trail of security events: who signed in, who was refused, what was ended and why."""
