"""Device authorization (RFC 8628): a device shows a code, and the person allows it in a browser."""
