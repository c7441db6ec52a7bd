"""Turns an executed notebook into a page: results first, code folded below what it makes, parameters at the end."""

import json
import re

from docutils import nodes
from sphinx import addnodes

END = """---

:::{{admonition}} Run this page with other parameters
:class: rerun

```bash
.venv/bin/papermill notebooks/{name}.ipynb out.ipynb -p profile smoke
```

In `make lab` the same parameters stand in the first code cell. <a href="../rerun.html">Run it yourself</a> says more.

```{{admonition}} Parameters and imports of this page
:class: dropdown
~~~python
{parameters}
~~~
~~~python
{imports}
~~~
```

**Cite this page:** "{title}", in: *{book}*, {year}.
:::
"""


def rearrange(app, docname, source):
    """Take papermill's own cell off the page of a notebook, and close the page with its parameters."""
    path = app.env.doc2path(docname)
    if not str(path).endswith(".ipynb"):
        return
    notebook = json.loads(source[0])
    cells = notebook["cells"]
    for cell in cells:
        if "injected-parameters" in _tags(cell):
            cell["metadata"]["tags"].append("remove-cell")
    code = [cell for cell in cells if cell["cell_type"] == "code" and "injected-parameters" not in _tags(cell)]
    if len(code) > 1 and "parameters" in _tags(code[0]):
        title = _text(cells[0]).lstrip("# ").partition("\n")[0]
        fields = {"name": docname.rpartition("/")[2], "title": title, "book": app.config.html_title}
        setup = [text for text in map(_text, code) if "show.start" in text]
        fields["imports"] = setup[0] if setup else _text(code[1])
        text = END.format(**fields, parameters=_text(code[0]), year=app.config.copyright.partition(",")[0])
        cells.append({"id": "rerun", "cell_type": "markdown", "metadata": {}, "source": text})
    source[0] = json.dumps(notebook)


def _tags(cell):
    return cell["metadata"].get("tags", [])


def _text(cell):
    return "".join(cell["source"])


def fold(app, doctree, docname):
    """One fold below each output, with its code and that of the cells before it that show nothing."""
    waiting = []
    for cell in list(doctree.findall(_is_cell)):
        hidden = [child for child in cell.children if type(child).__name__ == "HideCodeCellNode"]
        if not hidden:
            continue
        cell.remove(hidden[0])
        waiting += hidden[0].children
        if cell.children:
            label = _label(cell)
            cell += nodes.raw("", f'<details class="code"><summary>{label}</summary>', format="html")
            cell += waiting
            cell += nodes.raw("", "</details>", format="html")
            waiting = []
        else:
            cell.parent.remove(cell)


def _is_cell(node):
    return isinstance(node, nodes.container) and node.get("nb_element") == "cell_code"


def _label(cell):
    """What a cell shows, in words."""
    shown = "".join(node.astext() for node in cell.findall(nodes.raw))
    found = {"figure": shown.count('class="drawn"'), "table": shown.count('class="dataframe')}
    names = [f"this {kind}" if n == 1 else f"these {kind}s" for kind, n in found.items() if n]
    return f"Code of {' and '.join(names) or 'this result'}"


def link_terms(app, doctree, docname):
    """Link the first use on a page of each term of the glossary to it, in paragraphs alone."""
    if docname == "glossary" or "glossary" not in app.env.found_docs:
        return
    terms = app.config.lecture_terms
    for text in list(doctree.findall(nodes.Text)):
        if not isinstance(text.parent, nodes.paragraph | nodes.list_item) or not terms:
            continue
        found = re.search(rf"\b({'|'.join(map(re.escape, terms))})\b", text)
        if found:
            word = found[1]
            link = addnodes.pending_xref(
                "",
                nodes.inline("", word),
                refdomain="std",
                reftype="term",
                reftarget=word,
                refdoc=docname,
                refexplicit=True,
                refwarn=True,
            )
            before, after = text[: found.start()], text[found.end() :]
            text.parent.replace(text, [nodes.Text(before), link, nodes.Text(after)])
            terms = [term for term in terms if term not in (word, f"{word}s", word.removesuffix("s"))]


def name_lists_rightly(app, pagename, templatename, context, doctree):
    """Take from the list of references a role whose items docutils does not give."""
    wrong, right = '<div role="list" class="citation-list">', '<div class="citation-list">'
    context["body"] = context.get("body", "").replace(wrong, right)


def setup(app):
    """Connect to the reading of sources and to the finished trees."""
    app.add_config_value("lecture_terms", [], "env")
    app.connect("source-read", rearrange)
    app.connect("doctree-read", lambda app, doctree: link_terms(app, doctree, app.env.docname))
    app.connect("doctree-resolved", fold)
    app.connect("html-page-context", name_lists_rightly)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
