"""Several verbs of one service's command line in one process: importing the service, a second of work, is paid once.

python -m shared.dev.launcher.verbs auth_service "db create" migrate "events declare"
"""

import runpy
import sys
from collections.abc import Sequence


def run(package: str, verbs: Sequence[str]) -> None:
    """Run each as `python -m <package> <verb>` would. Raises SystemExit with the code of the first that fails."""
    for verb in verbs:
        sys.argv = [package, *verb.split()]
        try:
            runpy.run_module(package, run_name="__main__", alter_sys=True)
        except SystemExit as ended:
            if ended.code not in (None, 0):
                sys.stderr.write(f"python -m {package} {verb} failed\n")
                raise


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2:])
