"""The Windows system on a disk: its registry, and what that and its files say.

One small module per subject, behind `guest.WindowsGuest`; rules only judge. What is true of Windows itself,
and of no image in particular, stands as data in `known_drivers.py`, `releases.py` and `foreign_software.py`.
"""
