"""``python -m daemon`` is the command ``refreshd``."""

from daemon.cli.entry import main

if __name__ == "__main__":
    main()
