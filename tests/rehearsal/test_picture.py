"""Pictures: PNG made from what older QEMUs write."""

from __future__ import annotations

import zlib

import pytest

from imgtool.rehearsal.picture import PNG, Screen


def test_a_ppm_becomes_a_png_of_the_same_pixels() -> None:
    pixels = bytes(range(2 * 3 * 3))
    png = Screen.of_ppm(b"P6\n2 3\n255\n" + pixels).png()
    assert png.startswith(PNG)
    assert png[16:24] == bytes((0, 0, 0, 2, 0, 0, 0, 3)), "width and height"
    at = png.index(b"IDAT")
    rows = zlib.decompress(png[at + 4 : png.index(b"IEND") - 8])
    assert [rows[row * 7 + 1 : row * 7 + 7] for row in range(3)] == [pixels[:6], pixels[6:12], pixels[12:]]


def test_a_screen_that_is_255_wide_is_one_too() -> None:
    assert Screen.of_ppm(b"P6\n255 1\n255\n" + bytes(3 * 255)).width == 255


@pytest.mark.parametrize(
    "data", [b"", b"P5\n2 2\n255\n1234", b"P6\n2 2\n255\n12", b"P6\n2 2\n65535\n" + bytes(24)]
)
def test_what_is_no_whole_ppm_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="PPM"):
        Screen.of_ppm(data)
