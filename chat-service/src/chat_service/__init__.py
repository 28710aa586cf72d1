"""chat-service of Flotilla."""
