"""Figures of a tenant: what its members may know, and what its admins see on their dashboard."""
