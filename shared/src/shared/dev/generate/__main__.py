"""`make generate`."""

import sys

import typer

from shared.dev.fleet import repository
from shared.dev.generate import generate
from shared.dev.generate.blocks import BlockInvalid

if __name__ == "__main__":
    try:
        changed = generate(repository())
    except BlockInvalid as invalid:
        typer.echo(str(invalid), err=True)
        sys.exit(1)
    typer.echo("\n".join(f"wrote {path}" for path in changed) or "Every generated block matches the fleet's list.")
