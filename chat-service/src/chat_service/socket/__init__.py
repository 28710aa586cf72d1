"""The WebSocket: frames, connections, and the hub that brings what was stored to everybody who follows it."""
