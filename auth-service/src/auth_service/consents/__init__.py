"""What a person allowed a client: remembered, listed and withdrawn."""
