"""Facts that are read when first asked for, and then kept: the value, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

from imgtool.errors import ImgtoolError

Owner = TypeVar("Owner")
Value = TypeVar("Value")


class fact(Generic[Owner, Value]):  # noqa: N801 - used as a decorator, like cached_property
    """Like functools.cached_property, but an ImgtoolError is kept and raised again as well.

    A disk that cannot be opened is asked for by dozens of rules; it is tried once.
    """

    def __init__(self, read: Callable[[Owner], Value]) -> None:
        self._read = read
        self.__doc__ = read.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> fact[Owner, Value]: ...
    @overload
    def __get__(self, instance: Owner, owner: type) -> Value: ...
    def __get__(self, instance: Owner | None, owner: type) -> fact[Owner, Value] | Value:
        if instance is None:
            return self
        kept: dict[str, tuple[Any, ImgtoolError | None]] = instance.__dict__.setdefault("_facts", {})
        if self._name not in kept:
            try:
                kept[self._name] = (self._read(instance), None)
            except ImgtoolError as error:
                kept[self._name] = (None, error)
        value, failure = kept[self._name]
        if failure is not None:
            raise failure
        return value  # type: ignore[no-any-return]


def preset(owner: object, **values: object) -> None:
    """Give facts of `owner` their values before anyone asks."""
    kept: dict[str, tuple[Any, ImgtoolError | None]] = owner.__dict__.setdefault("_facts", {})
    kept.update({name: (value, None) for name, value in values.items()})


def failures(owner: object) -> list[ImgtoolError]:
    """Why facts of `owner` that were asked for could not be read."""
    kept: dict[str, tuple[Any, ImgtoolError | None]] = vars(owner).get("_facts", {})
    return [error for _, error in kept.values() if error is not None]
