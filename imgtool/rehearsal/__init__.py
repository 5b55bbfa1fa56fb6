"""Booting an image on the platform's virtual hardware: the machine in QEMU, what it is given, what is
watched, and what that shows. `rehearse` in course.py is the whole of it.
"""
