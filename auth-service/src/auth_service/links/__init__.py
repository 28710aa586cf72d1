"""Single-use links, as mails carry them: each proves that its holder reads the mail of one address."""
