"""Takes the first figure of the built book as it is into book/headline.svg, for README.md: `make picture`."""

import re
import sys
from pathlib import Path

BOOK = Path(__file__).parent
SPACES = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'


def picture(page):
    """The first figure of a page (HTML) as an SVG file of its own, black on white."""
    found = re.search(r'<svg class="drawn" viewBox="(\S+) (\S+) (\S+) (\S+)".*?</svg>', page, re.DOTALL)
    x, y, width, height = found.groups()
    start, _, rest = found[0].partition(">")
    ground = f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="white"/>'
    return f"{start} {SPACES}>{ground}{rest}\n".replace('class="drawn"', 'color="#1a1a1a"')


if __name__ == "__main__":
    html = Path(sys.argv[1]) if len(sys.argv) > 1 else BOOK / "_build" / "html"
    page = (html / "pages" / "introduction.html").read_text(encoding="utf-8")
    (BOOK / "headline.svg").write_text(picture(page), encoding="utf-8")
