"""The mechanisms that every Flotilla service is built from."""
