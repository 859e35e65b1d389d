"""Registries and plugins: names, and what a plugin that fails costs."""

from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint

import pytest

from rksearch.arch import registry
from rksearch.arch.registry import Registry
from rksearch.errors import PluginError, SpecError

CALLS: list[str] = []


def works() -> None:
    CALLS.append("works")


def fails() -> None:
    CALLS.append("fails")
    raise ValueError("no such\ntable")


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Registry[str]]]:
    """A registry of words in a process that has these functions of this module as plugins."""

    def registry_of(*functions: str) -> Registry[str]:
        points = [EntryPoint(name, f"{__name__}:{name}", registry.GROUP) for name in functions]
        monkeypatch.setattr(registry, "entry_points", lambda group: points)
        monkeypatch.setattr(registry, "_plugins", registry._Plugins())
        return Registry("word", name_of=lambda word: word, shipped=lambda: ["shipped"], error=SpecError)

    CALLS.clear()
    yield registry_of
    CALLS.clear()


def test_a_plugin_is_called_once(plugins: Callable[..., Registry[str]]) -> None:
    words = plugins("works")
    assert [list(words), list(words)] == [["shipped"], ["shipped"]]
    assert CALLS == ["works"]


def test_a_plugin_that_fails_is_never_passed_over_in_silence(plugins: Callable[..., Registry[str]]) -> None:
    words = plugins("works", "fails", "works")
    for _ in range(2):
        with pytest.raises(PluginError, match=r"the plugin 'fails' .* raised ValueError: no such table; "):
            words.get("shipped")
    assert CALLS == ["works", "fails", "fails"]


def test_two_items_of_one_name_cost_one_line(plugins: Callable[..., Registry[str]]) -> None:
    words = Registry("word", name_of=len_name, shipped=list, error=SpecError)
    plugins()
    words.register("one")
    assert words.register("one") == "one"
    with pytest.raises(PluginError, match="each word needs a name of its own, but '3' is registered already"):
        words.register("two")
    with pytest.raises(SpecError, match="the word must be one of 3, but got '4'"):
        words.get("4")


def len_name(word: str) -> str:
    return str(len(word))
