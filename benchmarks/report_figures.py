"""Takes the pictures of docs/report.md: a run's report as Chromium shows it, light, dark and on a phone.

clouds demo
python benchmarks/report_figures.py runs/demo docs/figures
"""

import argparse
import io
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

MAX_BYTES = 300_000
"""The size that a picture's file stays below, by having fewer colours."""

_COLORS = (256, 192, 128, 96, 64)


@dataclass(frozen=True)
class View:
    """A picture's name, the window's size, the colours, and what is done before it is taken."""

    name: str
    width: int
    height: int
    scheme: str
    act: str = ""
    scale: float = 1


_TO_GALLERY = """document.documentElement.style.scrollBehavior = 'auto';
    document.getElementById('pictures').scrollIntoView();"""
_TO_CARDS = """document.documentElement.style.scrollBehavior = 'auto';
    document.getElementById('found').scrollIntoView();
    const split = document.querySelector('.split'); split.value = 30; split.dispatchEvent(new Event('input'));"""
_TO_DETAILS = "document.querySelectorAll('.more')[9].click()"

VIEWS = (
    View("report-light.png", 1280, 1010, "light"),
    View("report-gallery.png", 1280, 900, "dark", _TO_GALLERY),
    View("report-details.png", 1280, 900, "light", _TO_DETAILS),
    View("report-phone.png", 390, 844, "light", _TO_CARDS, scale=1.5),
)


def taken(browser: Any, page_path: Path, view: View) -> Image.Image:
    """What a window of that size shows."""
    size = {"width": view.width, "height": view.height}
    with browser.new_context(viewport=size, color_scheme=view.scheme, device_scale_factor=view.scale) as context:
        page = context.new_page()
        page.goto(page_path.as_uri())
        for act in (_TO_GALLERY, "scrollTo(0, 0)", view.act):  # pictures are loaded when they are near
            page.evaluate(f"() => {{ {act} }}")
            page.wait_for_timeout(700)
        return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def encoded(image: Image.Image) -> bytes:
    """The image as PNG with the most colours that keep it below `MAX_BYTES`, or with the fewest."""
    for colors in _COLORS:
        buffer = io.BytesIO()
        image.quantize(colors, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
        if buffer.tell() < MAX_BYTES:
            break
    return buffer.getvalue()


def main() -> None:
    """Take every view of a run's report."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for view in VIEWS:
            data = encoded(taken(browser, (options.run / "report" / "index.html").resolve(), view))
            (options.out / view.name).write_bytes(data)
            print(f"{view.name}: {len(data):,} bytes")
        browser.close()


if __name__ == "__main__":
    main()
