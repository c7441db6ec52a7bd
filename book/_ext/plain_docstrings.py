"""Lets autodoc show the module's docstrings, which are plain text with `names` in single backticks."""

import re


def plain(app, what, name, obj, options, lines):
    """Turn single backticks into code, and take from every other sign the meaning that reStructuredText gives it."""
    text = "\n".join(lines)
    parts = re.split(r"(`[^`\n]+`)", text)
    for place, part in enumerate(parts):
        code = part.startswith("`") and part.endswith("`") and len(part) > 2
        parts[place] = f"`{part}`" if code else re.sub(r"([\\*|_])", r"\\\1", part)
    lines[:] = "".join(parts).split("\n")


def setup(app):
    """Connect to autodoc."""
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-docstring", plain)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
