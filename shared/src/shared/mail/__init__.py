"""Sending mail: composing a message for the wire, and handing it to the mail server."""
