"""Exit codes of the command line, besides 0 and those of errors (see `rksearch.errors`)."""

EXIT_INTERRUPTED = 130
"""ctrl-C ended the command; shells give the same code to a program that it kills."""

EXIT_FAILURES = 3
"""The run is finished, but some of its trainings failed."""
