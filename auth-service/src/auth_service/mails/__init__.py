"""Mails that carry a secret or a notice about an account's security.

They never become a job or an event. Their content is encrypted in this service's database until it is sent.
"""
