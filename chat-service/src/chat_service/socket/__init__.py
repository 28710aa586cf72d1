"""The WebSocket: one connection and the frames that its client sends.

api             the handshake and a connection's life
connection      reads frames (frames), queues them, and answers errors (problems)
frame_handlers  what each frame does, one transaction a frame; delivery/ takes it from there
"""
