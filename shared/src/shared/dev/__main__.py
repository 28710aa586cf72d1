"""`python -m shared.dev`: the launcher's command line; the Makefile's targets are these verbs."""

from shared.dev.commands import line

if __name__ == "__main__":
    line()
