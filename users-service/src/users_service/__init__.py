"""users-service of Flotilla."""
