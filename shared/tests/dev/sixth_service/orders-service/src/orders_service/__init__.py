"""orders-service of Flotilla."""
