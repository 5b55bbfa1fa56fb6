"""Dataclasses that cost next to nothing to declare.

The standard library writes and compiles the methods of every class when its module is imported: 0.45 ms a
class, a sixth of a whole `imgtool check`. Here the methods are closures over the fields, made in 0.02 ms,
and objects take as long as there. `dataclass`, `field` and `replace` mean what they mean in `dataclasses`,
as far as they are offered, and what takes a dataclass (`dataclasses.fields`, `asdict`, mypy, pytest) takes
these. Use them in what a check imports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["dataclass", "field", "replace"]

if TYPE_CHECKING:
    from dataclasses import dataclass, field, replace
else:
    _MISSING = object()

    class _Field:
        __slots__ = ("compare", "default", "default_factory", "kw_only", "repr")

        def __init__(
            self,
            *,
            default=_MISSING,
            default_factory=_MISSING,
            repr=True,  # noqa: A002
            compare=True,
            kw_only=False,
        ):
            self.default = default
            self.default_factory = default_factory
            self.repr = repr
            self.compare = compare
            self.kw_only = kw_only

    field = _Field

    class _StandardFields:
        """`__dataclass_fields__`, made by the standard library when somebody asks for it."""

        def __get__(self, instance, owner):
            import dataclasses

            content = {"__annotations__": {}}
            for name, this in owner.__record_fields__.items():
                given = {"repr": this.repr, "compare": this.compare, "kw_only": this.kw_only}
                if this.default is not _MISSING:
                    given["default"] = this.default
                elif this.default_factory is not _MISSING:
                    given["default_factory"] = this.default_factory
                content["__annotations__"][name] = "object"
                content[name] = dataclasses.field(**given)
            return dataclasses.dataclass(type(owner.__name__, (), content)).__dataclass_fields__

    def dataclass(cls=None, /, *, frozen=False):
        return _made(cls, frozen) if cls is not None else lambda cls: _made(cls, frozen)

    def replace(instance, /, **changes):
        given = {name: getattr(instance, name) for name in instance.__record_fields__}
        return instance.__class__(**{**given, **changes})

    def _made(cls, frozen):
        fields = _fields_of(cls)
        cls.__record_fields__ = fields
        cls.__dataclass_fields__ = _StandardFields()
        cls.__match_args__ = tuple(name for name, this in fields.items() if not this.kw_only)
        cls.__init__ = _initialiser(cls, fields)
        compared = tuple(name for name, this in fields.items() if this.compare)
        methods = {"__repr__": _representer(fields)}
        if "__eq__" not in cls.__dict__:
            methods["__eq__"] = _comparer(compared)
        if cls.__dict__.get("__hash__") is None:
            cls.__hash__ = _hasher(compared) if frozen else None
        for name, method in methods.items():
            if name not in cls.__dict__:
                setattr(cls, name, method)
        if frozen:
            cls.__setattr__ = _refuse_to_set
            cls.__delattr__ = _refuse_to_delete
        return cls

    def _fields_of(cls):
        """The fields of the bases, then its own; defaults stay on the class, as they do there."""
        fields = {}
        for base in cls.__mro__[:0:-1]:
            fields.update(base.__dict__.get("__record_fields__", {}))
        for name, annotation in cls.__annotations__.items():
            if "ClassVar" in str(annotation).partition("[")[0]:
                continue
            given = cls.__dict__.get(name, _MISSING)
            this = fields[name] = given if isinstance(given, _Field) else _Field(default=given)
            if this.default is not _MISSING:
                setattr(cls, name, this.default)
            elif given is not _MISSING:
                delattr(cls, name)
        return fields

    def _initialiser(cls, fields):
        places = cls.__match_args__
        known = frozenset(fields)
        count = len(fields)
        defaults = {name: this.default for name, this in fields.items() if this.default is not _MISSING}
        factories = tuple(
            (name, this.default_factory)
            for name, this in fields.items()
            if this.default_factory is not _MISSING
        )
        afterwards = hasattr(cls, "__post_init__")

        def __init__(self, /, *values, **named):  # noqa: N807
            content = self.__dict__
            if defaults:
                content.update(defaults)
            if values:
                content.update(zip(places, values))  # noqa: B905 - too many are told below
            if named:
                content.update(named)
            for name, make in factories:
                if name not in content:
                    content[name] = make()
            if (
                len(content) != count
                or len(values) > len(places)
                or not named.keys() <= known
                or not named.keys().isdisjoint(places[: len(values)])
            ):
                raise TypeError(_wrong_arguments(cls, fields, values, named))
            if afterwards:
                self.__post_init__()

        return __init__

    def _wrong_arguments(cls, fields, values, named):
        given = {*cls.__match_args__[: len(values)], *named}
        needed = [
            name
            for name, this in fields.items()
            if this.default is _MISSING and this.default_factory is _MISSING and name not in given
        ]
        return (
            f"{cls.__qualname__}() takes {', '.join(fields)}; got {len(values)} by position and "
            f"{', '.join(named) or 'none'} by name; missing: {', '.join(needed) or 'none'}"
        )

    def _comparer(names):
        def __eq__(self, other):  # noqa: N807
            if other.__class__ is not self.__class__:
                return NotImplemented
            mine, others = self.__dict__, other.__dict__
            return all(mine[name] is others[name] or mine[name] == others[name] for name in names)

        return __eq__

    def _hasher(names):
        def __hash__(self):  # noqa: N807
            content = self.__dict__
            return hash(tuple([content[name] for name in names]))

        return __hash__

    def _representer(fields):
        names = tuple(name for name, this in fields.items() if this.repr)

        def __repr__(self):  # noqa: N807
            return (
                f"{self.__class__.__qualname__}({', '.join(f'{it}={getattr(self, it)!r}' for it in names)})"
            )

        return __repr__

    def _refuse_to_set(self, name, value):
        raise _frozen(f"cannot assign to field {name!r}")

    def _refuse_to_delete(self, name):
        raise _frozen(f"cannot delete field {name!r}")

    def _frozen(what):
        from dataclasses import FrozenInstanceError

        return FrozenInstanceError(what)
