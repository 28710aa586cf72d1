"""tasks-service of Flotilla."""
