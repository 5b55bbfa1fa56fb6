"""`python -m imgtool`: the same as the command `imgtool`."""

from imgtool.cli import main

if __name__ == "__main__":
    main()
