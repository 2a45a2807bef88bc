"""The command line: ``opalg demo``, ``opalg info``, ``opalg explain``, ``opalg check``."""
