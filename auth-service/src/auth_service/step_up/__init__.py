"""Step-up: a signed-in person confirms that it is them, which their session's next tokens report (RFC 9470)."""
