"""Development: the embedded servers, and the launcher that runs the whole fleet from one command. In no image."""
