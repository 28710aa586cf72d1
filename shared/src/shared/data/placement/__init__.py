"""Where a tenant's content is: in the shared tables, or in a schema of its own.

A tenant's home is a schema: `public`, whose tables all tenants share, or `tenant_<id>`, which has the `Placed` tables
alone. Every transaction begins with `enter_tenant` (migration.py), which puts the home in front of the search path, so
no statement names it. Row-level security is the same in both.

Tenants are moved while they are used (move.py). A trigger on every placed table makes that safe: each writing statement
takes the tenant's lock in shared mode, is refused if the tenant has another home by now, and is noted while rows are
being copied. Only the last step of a move takes the lock alone.
"""
