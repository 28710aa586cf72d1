"""`python -m shared.dev`: the launcher's command line; the Makefile's targets are these verbs."""

import signal

# Until the launcher listens to it, Ctrl-C has nothing to end in order: no traceback out of some import.
signal.signal(signal.SIGINT, signal.SIG_DFL)

from shared.dev.commands import line  # noqa: E402 - the import is what takes the time

if __name__ == "__main__":
    line()
