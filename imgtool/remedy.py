"""What a remedy needs beyond the fault itself."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec

from imgtool.errors import CannotRead
from imgtool.text import Text

Arguments = ParamSpec("Arguments")


def if_known(make: Callable[Arguments, Text | None]) -> Callable[Arguments, Text | None]:
    """A remedy that is left out when a fact that it names can't be read: the fault is proven all the same."""

    @functools.wraps(make)
    def made(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Text | None:
        try:
            return make(*args, **kwargs)
        except CannotRead:
            return None

    return made
