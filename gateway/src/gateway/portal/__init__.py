"""The gateway's own pages: health for whoever routes to it, and every problem explained."""
