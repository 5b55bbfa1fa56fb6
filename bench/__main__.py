"""`python -m bench [SUBJECT...]`: measure, print, and write docs/benchmarks.*."""

from __future__ import annotations

import datetime
import importlib
import pkgutil
import subprocess
import sys

import imgtool
from bench import machine, record, subjects
from bench.process import Unexpected


def main(chosen: list[str]) -> int:
    """Exit code: 0 every bar reached, 1 one missed, 2 no such subject, 3 measuring failed."""
    known = sorted(found.name for found in pkgutil.iter_modules(subjects.__path__))
    for name in chosen:
        if name not in known:
            print(f"No benchmark is called {name}; there are: {', '.join(known)}", file=sys.stderr)
            return 2
    missed = 0
    for name in chosen or known:
        subject = importlib.import_module(f"bench.subjects.{name}")
        described = machine.describe()
        print(f"{subject.TITLE.replace('`', '')}: measuring, this takes some minutes", file=sys.stderr)
        try:
            figures = [record.as_json(figure) for figure in subject.measure()]
        except (Unexpected, subprocess.CalledProcessError) as why:
            print(f"bench: {why}", file=sys.stderr)
            return 3
        print(record.for_terminal(figures))
        missed += sum(figure["met"] is False for figure in figures)
        record.save(
            name,
            {
                "title": subject.TITLE,
                "method": subject.METHOD,
                "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
                "imgtool": imgtool.__version__,
                "machine": described,
                "figures": figures,
            },
        )
    if missed:
        print(f"{missed} bar{'s' if missed > 1 else ''} missed", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
