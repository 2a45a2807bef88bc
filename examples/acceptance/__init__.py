"""What the three works must reach, measured: ``python -m examples.acceptance`` prints a table."""
