"""Claims as cards: the verdict, what the paper says beside ours, and each network's interval against the limit."""

import math
import re
from collections.abc import Mapping
from html import escape

from IPython.display import HTML, display

from ..claims.registry import judged
from ..claims.rules import Judged, Status
from ..claims.verdicts import worst
from ..runs.profiles import Profile

MARKS = {  # of each verdict: colour, on which white is read, and sign; the word always stands beside them
    "reproduced": ("#0a7d4f", "✓"),
    "reproduced on a stand-in": ("#37795c", "(✓)"),
    "contradicted": ("#b3261e", "✗"),
    "mixed": ("#6a4c9c", "✓✗"),
    "inconclusive": ("#8a6100", "?"),
    "not run": ("#5f6368", "–"),
}
NETWORKS = ("LeNet-300-100", "LeNet-5", "AlexNet", "VGG-16")  # in the paper's order
WORDS = 40  # of a card outside its fold


def show(found: Mapping[str, object], profile: Profile, *ids: str) -> None:
    """Show the cards of these claims, judged on the evidence `found`."""
    each = {claim.id: claim for claim in judged(found, profile)}
    display(HTML(f'<div class="cards alone">{"".join(card(each[i]) for i in ids)}</div>'))


def badge(verdict: str) -> str:
    """A verdict as word and sign in its colour, as HTML."""
    colour, sign = MARKS[verdict]
    return f'<span class="verdict" style="background: {colour}; color: white">{sign} {verdict}</span>'


def card(claim: Judged) -> str:
    """A claim's card as HTML; what would make it longer than WORDS stands in its fold."""
    room = WORDS - len(words(f"{claim.id} {claim.verdict} {claim.claim} paper {claim.published} ours Rule"))
    rows = [row(status) for status in worst(claim.statuses)]
    while rows and sum(len(words(each)) for each in rows) > room:
        rows.pop()
    room -= sum(len(words(each)) for each in rows)
    measured = not claim.statuses or any(math.isfinite(status.mean) for status in claim.statuses)
    ours = claim.ours if measured and len(words(claim.ours)) <= room else ""
    source = f", {claim.source}" if claim.source and len(words(f"{ours} {claim.source}")) <= room else ""
    where = claim.measured_on if len(words(f"{ours} {source} {claim.measured_on}")) <= room else ""
    said = f"<div><dt>paper{escape(source)}</dt><dd>{escape(claim.published)}</dd></div>"
    said += f"<div><dt>ours</dt><dd>{escape(ours)}</dd></div>" if ours else ""
    return (
        f'<article class="{classes(claim)}"><header>{link(claim)} {badge(claim.verdict)}</header>'
        f"<p>{escape(claim.claim)}</p><dl>{said}</dl>{''.join(rows)}"
        f'<p class="where">{escape(where)}</p>'
        f"<details><summary>Rule</summary>{_reasons(claim)}</details></article>"
    )


def words(text: str) -> list[str]:
    """The words of a text or of HTML, pictures left out."""
    return re.sub(r"<svg.*?</svg>|<[^>]*>", " ", text, flags=re.DOTALL).split()


def row(status: Status) -> str:
    """One network of a card: its name, its interval against the limit, its status and seeds."""
    seeds = f"{status.seeds} seed{'' if status.seeds == 1 else 's'}" if status.seeds else ""
    if 0 < status.seeds < status.needed:
        seeds = f"{status.seeds} of {status.needed} seeds"
    state = ", ".join(part for part in (status.status, seeds) if part)
    return f'<div class="row"><span>{escape(status.title)}</span>{plot(status)}<span>{escape(state)}</span></div>'


def plot(status: Status, width: int = 176, height: int = 45) -> str:
    """The mean, its 95 % interval and the rule's limit on one line, as SVG; empty where nothing was measured."""
    if not math.isfinite(status.mean):
        return "<span></span>"
    marks = [v for v in (status.mean, status.low, status.high, status.limit) if math.isfinite(v)]
    low, high = min(marks), max(marks)
    room = 0.18 * (high - low) or 1.0

    def x(value: float) -> float:
        return width * (value - low + room) / (high - low + 2 * room)

    colour = {"holds": "ours", "fails": "kept"}.get(status.status, "paper")
    paint, middle = f"var(--drawn-{colour}, #0072b2)", height // 2
    drawn = f'<line x1="0" x2="{width}" y1="{middle}" y2="{middle}" stroke="var(--drawn-faded, #c8c8c8)"/>'
    if math.isfinite(status.limit):
        at = f'x1="{x(status.limit):.1f}" x2="{x(status.limit):.1f}" y1="{middle - 8}" y2="{middle + 8}"'
        drawn += f'<line {at} stroke="currentColor" stroke-width="1.5" stroke-dasharray="3 2"/>'
    if math.isfinite(status.low):
        ends = f'x1="{x(status.low):.1f}" x2="{x(status.high):.1f}" y1="{middle}" y2="{middle}"'
        drawn += f'<line {ends} stroke="{paint}" stroke-width="4" stroke-linecap="round" opacity="0.55"/>'
    hollow = "var(--drawn-page, white)" if status.status == "undecided" else paint
    dot = f'cx="{x(status.mean):.1f}" cy="{middle}" r="4.5" fill="{hollow}" stroke="{paint}" stroke-width="1.6"'
    mean = f"{status.number(status.mean)} {status.unit.partition(' ')[0]}".rstrip()
    drawn += f"<circle {dot}/>{_number(mean, x(status.mean), 11, width, 600)}"
    if math.isfinite(status.limit):
        drawn += _number(f"limit {status.number(status.limit)}", x(status.limit), height - 2, width)
    box = f'viewBox="0 0 {width} {height}" role="img" aria-label="{escape(status.told)}"'
    return f'<svg class="interval" {box}>{drawn}</svg>'


def _number(text: str, x: float, y: float, width: int, weight: int = 400) -> str:
    """A figure of a plot, centred on x and moved in from its edges, as SVG."""
    middle = min(max(x, 4.1 * len(text)), width - 4.1 * len(text))
    look = f'text-anchor="middle" font-size="13" font-weight="{weight}" fill="currentColor"'
    return f'<text x="{middle:.1f}" y="{y}" {look}>{text}</text>'


def _reasons(claim: Judged) -> str:
    """The fold of a card: the rule, what was measured, each network's status, and a verdict that was another before."""
    lines = [claim.rule, f"Ours: {claim.ours}", f"Measured on {claim.measured_on}"]
    lines += [status.told for status in claim.statuses]
    if claim.changed:
        lines.append(f"By the first edition of the rules: {claim.first_edition}. {claim.changed}")
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def link(claim: Judged) -> str:
    """The claim's number, which leads to its page, as HTML."""
    return f'<a href="{claim.page}.html">{claim.id}</a>'


def networks(claim: Judged) -> list[str]:
    """Which of the paper's four networks a claim was measured on, or one that stands for it."""
    said = " ".join([claim.claim, claim.measured_on, *(s.title for s in claim.statuses)])
    return [title for title in NETWORKS if re.search(rf"{title}(?![-\d])", said)]


def classes(claim: Judged) -> str:
    """What the style sheet knows a card by: its verdict, and the networks that it is about."""
    return " ".join(["card-claim", f"v-{slug(claim.verdict)}", *(f"n-{slug(n)}" for n in networks(claim))])


def slug(name: str) -> str:
    """A verdict or network as the style sheet calls it."""
    return name.lower().replace(" ", "-")
