"""How a stored message or notification reaches every socket that follows it.

hub           receives what this process committed (push.py), encodes it once, and publishes a hint to other replicas
fanout, hints carry hints between replicas over the cache; hints may be lost
forwarding    puts each frame into its stream, in order; reads missing ones from PostgreSQL (history)
streams       give every follower each number once
subscription  takes one connection in one room from history to live without a gap
outgoing      writes what the client reads, and closes connections that are too slow
"""
