"""The program `asr`, also `python -m asr` and `torchrun --nproc-per-node 2 -m asr train ...`.

The command line itself is `asr.cli.main.main`, which may be called in any process; this is what owns a process.
"""

import sys

try:
    from asr.system.interrupts import INTERRUPTED, end_process, leave_at_once, no_more, raise_when_loaded
except KeyboardInterrupt:
    print("interrupted", file=sys.stderr)
    sys.exit(130)


def main() -> None:
    """Run the command line in this process and end it."""
    leave_at_once()
    from asr.cli.main import main as run

    try:
        raise_when_loaded()
        run()
    except SystemExit as leaving:
        no_more()
        if leaving.code == INTERRUPTED:
            end_process(INTERRUPTED)
        raise
    except KeyboardInterrupt:  # where `run` has no hold of it: in its first and last steps
        no_more()
        print("interrupted", file=sys.stderr)
        end_process(INTERRUPTED)
    no_more()


if __name__ == "__main__":
    main()
