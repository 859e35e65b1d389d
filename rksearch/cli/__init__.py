"""The command line: thin, and quick to answer because each command imports what it needs when it is called."""

from rksearch.cli.main import main

__all__ = ["main"]
