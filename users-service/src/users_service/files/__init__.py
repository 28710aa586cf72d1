"""Files: streamed into storage and out of it, seen by their owner and the tenant's admins."""
