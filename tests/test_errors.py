"""Texts of errors: what a user reads, and what others read in records."""

from __future__ import annotations

from rksearch.errors import in_one_line

ADDRESS = "https://me:{secret}@tracking.example:5000/api?token={secret}"


def test_an_exception_in_one_line_shows_no_password_of_an_address() -> None:
    secret = "s3cret" * 10
    said = f"the request to {ADDRESS.format(secret=secret)} failed"
    assert (
        in_one_line(OSError(said)) == "OSError: the request to https://***@tracking.example:5000/api?token=*** failed"
    )


def test_a_password_is_hidden_before_the_line_is_cut() -> None:
    """Of an address without its end nobody could tell where its password begins."""
    secret = "s3cret" * 100
    assert "s3cret" not in in_one_line(OSError(f"the request to {ADDRESS.format(secret=secret)} failed"))
