"""The WebSocket. A message's way through it, from one client to all the others:

connection   reads the frame (frames) and queues it
commands     stores it, one transaction a frame, and answers `ack`
hub          hears of the commit (push.py), encodes once, tells the other replicas (fanout, hints)
delivery     puts it into its line, in order; fills from PostgreSQL (stored) what no hint brought
lines        give each follower every number once
subscription goes from history to live without a seam
outgoing     writes what a reader takes, and ends with who does not read
"""
