"""The page on which a person signs in before an OAuth client gets a code, and what the browser keeps of it."""
