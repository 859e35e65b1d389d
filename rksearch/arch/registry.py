"""Registries: what rksearch knows by name and anyone may add to (families, data sets, samplers), and plugins.

A registry loads what rksearch ships when it is first asked, then the plugins of other packages, then takes what a
program registers itself. A plugin is an entry point of the group `rksearch.plugins` that names a function without
arguments; it is called once in every process and registers what it brings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from rksearch.errors import ANY_FAULT, PluginError, RksearchError, in_one_line, nearest

T = TypeVar("T")

GROUP = "rksearch.plugins"
"""Entry points of this group are plugins."""


class Registry(Generic[T]):
    """Items by name.

    Args:
        kind: what an item is, for messages: "family".
        name_of: the name of an item.
        shipped: the items that come with rksearch, made when the registry is first asked.
        error: class of the error for a name that is not registered.
    """

    def __init__(
        self,
        kind: str,
        *,
        name_of: Callable[[T], str],
        shipped: Callable[[], Iterable[T]],
        error: type[RksearchError],
    ) -> None:
        self._kind = kind
        self._name_of = name_of
        self._shipped = shipped
        self._error = error
        self._items: dict[str, T] | None = None
        self._added: dict[str, T] = {}

    def register(self, item: T) -> T:
        """Add an item; returns it, so that this can serve as a decorator.

        Raises:
            PluginError: it is no such item, another one has its name, or its name is none that anyone could write.
        """
        items = self._load()
        try:
            name = self._name_of(item)
        except AttributeError:
            raise PluginError(f"a {self._kind} must be registered, but got {item!r}; make one of it") from None
        if not isinstance(name, str) or not name or not name.isprintable() or name != name.strip():
            raise PluginError(
                f"each {self._kind} needs a name of printable text without spaces around it, but got {name!r}; choose "
                "another name"
            )
        if name in items:
            if items[name] is item or items[name] == item:
                return item
            raise PluginError(
                f"each {self._kind} needs a name of its own, but {name!r} is registered already; choose another name"
            )
        items[name] = item
        if not _plugins.loading:
            self._added[name] = item
        return item

    def get(self, name: str) -> T:
        """The item of this name.

        Raises:
            RksearchError: of the registry's class, when there is none.
        """
        items = self.items()
        if not isinstance(name, str) or name not in items:
            raise self._error(
                f"the {self._kind} must be one of {', '.join(items)}, but got {name!r}{nearest(name, items)}"
            )
        return items[name]

    def items(self) -> Mapping[str, T]:
        """All items by name, in the order of their registration."""
        items = self._load()
        _plugins.load()
        return items

    def __iter__(self) -> Iterator[T]:
        return iter(tuple(self.items().values()))

    def __contains__(self, name: object) -> bool:
        return name in self.items()

    def shipped(self) -> tuple[T, ...]:
        """Items that come with rksearch; loads no plugin."""
        return tuple(self._shipped())

    def added(self) -> tuple[T, ...]:
        """What the program itself has registered: worker processes do not know it unless it is sent to them."""
        return tuple(self._added.values())

    def adopt(self, items: Iterable[T]) -> None:
        """Add items that another process has registered; an item whose name is known here stays as it is.

        A class or function that was sent twice is two objects, so that equality cannot tell.
        """
        for item in items:
            if self._name_of(item) not in self.items():
                self.register(item)

    def _load(self) -> dict[str, T]:
        if self._items is None:
            self._items = {self._name_of(item): item for item in self._shipped()}
        return self._items


class _Plugins:
    """Loads the plugins of this process once."""

    def __init__(self) -> None:
        self.loading = False
        self._waiting: list[EntryPoint] | None = None

    def load(self) -> None:
        """Call every plugin that has not been called; one that fails is called again the next time.

        Raises:
            PluginError: one cannot be imported or fails.
        """
        if self.loading:
            return
        if self._waiting is None:
            self._waiting = list(entry_points(group=GROUP))
        self.loading = True
        try:
            while self._waiting:
                _call(self._waiting[0])
                del self._waiting[0]
        finally:
            self.loading = False


def _call(point: EntryPoint) -> None:
    """Call the function that an entry point names.

    Raises:
        PluginError: it cannot be imported or fails.
    """
    try:
        point.load()()
    except RksearchError:
        raise
    except ANY_FAULT as error:
        raise PluginError(
            f"the plugin {point.name!r} ({point.value}) must load, but raised {in_one_line(error)}; correct or "
            "uninstall it"
        ) from error


_plugins = _Plugins()
