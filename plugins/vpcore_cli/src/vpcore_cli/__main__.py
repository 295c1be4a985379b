"""``python -m vpcore_cli`` is ``vp``."""

from vpcore_cli.app import main

if __name__ == "__main__":
    main()
