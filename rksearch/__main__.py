"""`python -m rksearch`."""

from rksearch.cli import main

main()
