"""Erasing accounts: what this service knows about a person goes, their id and the audit trail's chain stay."""
