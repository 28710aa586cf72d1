"""auth-service of Flotilla."""
