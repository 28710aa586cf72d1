"""The gateway's own public paths: health for load balancers, and an explanation of every problem."""
