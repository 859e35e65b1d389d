"""Environments of the templates: whatever they show is escaped for HTML, SVG, Markdown or LaTeX."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from rksearch.report import text

LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "−": "$-$",
    "×": r"$\times$",
    "–": "--",
    "→": r"$\to$",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}
"""What characters with a meaning in LaTeX, and those that its fonts may lack, are written as."""


class Verbatim(str):
    """Text that is in the template's language already, so that it is not escaped."""

    __slots__ = ()


def escape_markdown(value: object) -> object:
    """The text with the characters of Markdown's markup escaped, on one line."""
    if not isinstance(value, str) or isinstance(value, Verbatim):
        return value
    for character in "\\`*<>|[]":
        value = value.replace(character, f"\\{character}")
    return text.one_line(value)


def escape_latex(value: object) -> object:
    """The text as LaTeX shows it."""
    if not isinstance(value, str) or isinstance(value, Verbatim):
        return value
    return "".join(LATEX.get(character, character) for character in text.one_line(value))


def bound(words: str) -> str:
    """The text with numbers and their percent signs on one line."""
    return str(words).replace(" %", "\N{NO-BREAK SPACE}%")


@cache
def _environment(language: str) -> Environment:
    markup = language in ("html", "svg")
    made = Environment(
        loader=PackageLoader("rksearch.report"),
        autoescape=markup,  # noqa: S701 - Markdown and LaTeX are escaped by `finalize`
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize={"md": escape_markdown, "tex": escape_latex}.get(language),
    )
    made.globals["verbatim"] = Verbatim
    made.filters["bound"] = bound
    return made


def render(template: str, **values: Any) -> str:
    """The template with these values, each escaped for the language that the template's name ends in.

    Args:
        template: name in `templates`, such as `page.html`.
        values: what the template names.
    """
    return _environment(template.rpartition(".")[2]).get_template(template).render(**values)


def asset(name: str) -> str:
    """Text of a file of this package, such as `templates/figure.css`."""
    return files("rksearch.report").joinpath(name).read_text(encoding="utf-8")


def only_script(names: Iterable[str]) -> str:
    """These files of `page` as the one script of a page, whose names nothing else there can see."""
    parts = "\n".join(asset(f"page/{name}.js") for name in names)
    return f'"use strict";\n(() => {{\n{parts}}})();\n'


def policy(script: str) -> str:
    """Content security policy: the page makes no request and runs no script but its own."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    scripts = f"script-src 'sha256-{digest}'; " if script else ""
    return f"default-src 'none'; {scripts}style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
