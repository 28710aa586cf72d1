"""The authorization endpoint: requests, the consent page, codes, pushed requests (RFC 6749, 7636, 9126, 9207)."""
