"""Our dataclasses behave as the standard library's."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from functools import cached_property
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgtool import records

MODULES = pytest.mark.parametrize("module", [records, dataclasses], ids=["ours", "theirs"])


@records.dataclass(frozen=True)
class Point:
    x: int
    y: int = 0
    tags: tuple[str, ...] = ()
    kind: ClassVar[str] = "point"

    @cached_property
    def total(self) -> int:
        return self.x + self.y


def made(module: Any, frozen: bool = True) -> Any:
    """A class with everything that a record may have."""

    @module.dataclass(frozen=frozen)
    class Base:
        a: int
        kind: ClassVar[str] = "base"

    @module.dataclass(frozen=frozen)
    class Record(Base):
        b: str = "b"
        c: list[int] = module.field(default_factory=list)
        seen: int = module.field(default=7, repr=False, compare=False)
        named: int = module.field(default=3, kw_only=True)

        def __post_init__(self) -> None:
            if self.a < 0:
                raise ValueError(self.a)

    return Record


@MODULES
def test_arguments_go_by_place_and_by_name_and_have_defaults(module: Any) -> None:
    record = made(module)
    whole = record(1, "x", [2], 8, named=4)
    assert (whole.a, whole.b, whole.c, whole.seen, whole.named) == (1, "x", [2], 8, 4)
    small = record(a=5)
    assert (small.a, small.b, small.c, small.seen, small.named, small.kind) == (5, "b", [], 7, 3, "base")
    assert record(1).c is not record(1).c


@MODULES
@pytest.mark.parametrize(
    ("places", "names"), [((), {}), ((1, "b", [], 7, 3), {}), ((1,), {"a": 1}), ((1,), {"d": 1})]
)
def test_wrong_arguments_are_a_type_error(module: Any, places: Any, names: Any) -> None:
    with pytest.raises(TypeError):
        made(module)(*places, **names)


@MODULES
def test_what_is_checked_after_making_is_checked(module: Any) -> None:
    with pytest.raises(ValueError, match="-1"):
        made(module)(-1)


@MODULES
def test_equality_and_hash_go_by_the_fields_that_are_compared(module: Any) -> None:
    record = made(module)
    assert record(1, c=(), seen=1) == record(1, c=(), seen=2) != record(2, c=())
    assert hash(record(1, c=(), seen=1)) == hash(record(1, c=(), seen=2))
    assert record(1) != made(module)(1)
    assert record(1) != 1
    with pytest.raises(TypeError):
        hash(made(module, frozen=False)(1))


@MODULES
def test_what_is_frozen_stays_as_it_is(module: Any) -> None:
    one = made(module)(1)
    with pytest.raises(dataclasses.FrozenInstanceError, match="'a'"):
        one.a = 2
    with pytest.raises(dataclasses.FrozenInstanceError, match="'a'"):
        del one.a
    other = made(module, frozen=False)(1)
    other.a = 2
    assert other.a == 2


@MODULES
def test_a_changed_copy_has_the_changes(module: Any) -> None:
    one = made(module)(1, "x", [2], 8, named=4)
    other = module.replace(one, b="y")
    assert (other.a, other.b, other.c, other.seen, other.named) == (1, "y", [2], 8, 4)
    with pytest.raises(TypeError):
        module.replace(one, nothing=1)


@given(x=st.integers(), y=st.integers(), tags=st.tuples(st.text(), st.text()))
def test_the_standard_library_takes_them_for_its_own(x: int, y: int, tags: tuple[str, str]) -> None:
    point = Point(x, y, tags)
    assert dataclasses.is_dataclass(point)
    assert dataclasses.asdict(point) == {"x": x, "y": y, "tags": tags}
    assert dataclasses.replace(point, x=1) == Point(1, y, tags)
    assert [field.name for field in dataclasses.fields(Point)] == ["x", "y", "tags"]
    assert repr(point) == f"Point(x={x!r}, y={y!r}, tags={tags!r})"
    assert pickle.loads(pickle.dumps(point)) == point  # noqa: S301
    assert copy.copy(point) == copy.deepcopy(point) == point
    assert point.total == x + y
    match point:
        case Point(found, _):
            assert found == x
