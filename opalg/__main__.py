"""``python -m opalg`` is the command ``opalg``."""

from opalg.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
