"""The pages on which a signed-in person manages their account in a browser: what the JSON API offers, as forms."""
