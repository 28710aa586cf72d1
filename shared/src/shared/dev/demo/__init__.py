"""The main job, walked through a running fleet as a client does it, and the demo tenant that it creates."""
