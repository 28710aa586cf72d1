"""What is decided before a request is forwarded: who sends it, for which tenant, with what right, how often."""
