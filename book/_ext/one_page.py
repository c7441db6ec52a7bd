"""Makes the single page that Sphinx can write of a whole book a page of this one, and drops scripts that no page loads.

Jupyter Book's builder `singlehtml` writes it as if it stood in the folder of the first page; it belongs beside the
folder, where it shares style sheets, scripts and data with the other pages.
"""

import re
import shutil
from pathlib import Path

NAME = "whole_book.html"


def link_within(app, pagename, templatename, context, doctree):
    """Let the links of the single page lead to its own sections, and to the data beside it."""
    if app.builder.name != "singlehtml" or "body" not in context:
        return
    documents = app.env.all_docs

    def inside(found):
        address, anchor = found[1].removeprefix("../"), found[2] or ""
        if f"pages/{address}" in documents or address in documents or address == app.config.root_doc:
            document = address if address in documents else f"pages/{address}"
            return f'href="{anchor or f"#document-{document}"}"'
        return found[0]

    body = re.sub(r'href="([\w./]+)\.html(#[^"]*)?"', inside, context["body"])
    context["body"] = body.replace('href="../', 'href="')


def finish(app, exception):
    """Put the single page where it belongs; from the other builder's folder take the scripts that no page loads."""
    folder = Path(app.outdir)
    if exception:
        return
    if app.builder.name == "singlehtml":
        (folder / f"{app.config.root_doc}.html").replace(folder.parent / "html" / NAME)
        shutil.rmtree(folder)
    elif app.builder.name == "html":
        used = Path(app.config.mathjax_path).name
        for script in (folder / "_static" / "mathjax").glob("*.js"):
            if script.name != used:
                script.unlink()


def setup(app):
    """Connect to the writing of pages and to the end of a build."""
    app.connect("html-page-context", link_within)
    app.connect("build-finished", finish, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
