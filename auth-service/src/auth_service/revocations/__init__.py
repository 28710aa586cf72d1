"""What ended before its time, as the feed that gateways and holders of streams follow."""
