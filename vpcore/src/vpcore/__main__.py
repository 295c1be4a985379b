"""``python -m vpcore`` is ``vp``."""

from vpcore.cli.app import main

if __name__ == "__main__":
    main()
