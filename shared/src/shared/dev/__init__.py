"""Development: what `make` runs. An extra that no image contains and no service imports.

`launcher` runs the fleet on `servers`; `demo` walks the main job through it; `checks` and `images` prove what is
delivered. `fleet` reads the list of services.
"""
