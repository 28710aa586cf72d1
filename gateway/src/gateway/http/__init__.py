"""The HTTP message model that every layer works on: one request with its headers, and how it is answered."""
