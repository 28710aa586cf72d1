"""`make images`: build every image and run it as production would; the secrets that containers mount."""
