"""What operators do to accounts, on the command line."""
