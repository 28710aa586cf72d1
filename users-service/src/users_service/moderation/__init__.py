"""Reports: members point at what breaks the rules of their tenant, and moderators resolve it."""
