"""`python -m asr`, and `torchrun --nproc-per-node 2 -m asr train ...`: the command `asr`."""

from asr.cli.main import main

if __name__ == "__main__":
    main()
