"""gateway of Flotilla."""
