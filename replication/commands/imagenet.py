"""The command `python -m replication imagenet`, alone or under torchrun."""

import time
from collections.abc import Callable
from pathlib import Path

import click

from .. import imagenet
from ..errors import ReplicationError
from ..imagenet import given_weights, preflight
from ..imagenet import plan as imagenet_plan
from ..imagenet.estimates import report
from ..imagenet.folder import Folder, cached, checked, keep, looked, scan, some
from ..imagenet.photographs import split
from ..imagenet.plan import Changes
from ..parameters import PARAMETERS
from ..runs.spec import MOST_SEED, ComputeOptions, Record, Run, with_ancestors
from ..specs import check
from ..training.checkpoints import listening
from ..training.machine import PRECISIONS
from ..training.processes import ProcessGroup, processes, shard

BETWEEN = 60  # seconds between two lines about steps


class Number(click.types.FloatParamType):
    """A finite number of zero or more; another is refused under the name that was typed."""

    def convert(self, value: str, parameter: click.Parameter, context: click.Context) -> float:
        number = super().convert(value, parameter, context)
        check(parameter.opts[0], number)
        return number


def _quality(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple:
    """Turns LAYER=QUALITY into pairs."""
    try:
        return tuple((name, float(quality)) for name, quality in (value.split("=") for value in values))
    except ValueError:
        raise click.BadParameter(f"{values!r}: give LAYER=NUMBER, as conv1=0.25") from None


@click.command("imagenet")
@click.option("--arch", type=click.Choice(sorted(imagenet_plan.RECIPES)), required=True)
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder with train/ and val/.")
@click.option("--weights", default="none", show_default=True, metavar="torchvision|PATH|none", help="To start from.")
@click.option("--seed", type=click.IntRange(0, MOST_SEED), default=0)
@click.option("--rounds", type=click.IntRange(0, PARAMETERS["rounds"].most), help="Of pruning and retraining.")
@click.option("--epochs", type=click.IntRange(0), help="Of the dense network.")
@click.option("--retraining", type=click.IntRange(0), nargs=2, help="Epochs of the FC layers, of the whole network.")
@click.option("--batch", type=click.IntRange(1), help="Images of one step, all processes together.")
@click.option("--learning-rate", "rate", type=Number(), help="The initial one; retraining starts at 1/100 of it.")
@click.option("--precision", type=click.Choice(PRECISIONS), help="bfloat16: mixed.")
@click.option("--damage", type=Number(), help="What a pruning may add to the loss on held-out images, in nats.")
@click.option("--search-images", "search", type=click.IntRange(1), help="Held-out images that the search looks at.")
@click.option("--grid-step", type=click.IntRange(1), default=1, help="Of the grid of qualities try every n-th.")
@click.option(
    "--quality", "qualities", multiple=True, callback=_quality, metavar="LAYER=NUMBER", help="In place of the search."
)
@click.option("--images", type=click.IntRange(1), help="Use the first so many of each split.")
@click.option("--figures", is_flag=True, help="The runs of Figures 5 and 6 as well.")
@click.option("--micro-batch", type=click.IntRange(1), default=64, show_default=True, help="Images each process holds.")
@click.option("--workers", type=click.IntRange(0), default=4, show_default=True, help="Readers of images, per process.")
@click.option(
    "--checkpoint-minutes", "minutes", type=Number(), default=15, show_default=True, help="Between two checkpoints."
)
@click.option("--estimate", is_flag=True, help="Measure for some seconds and print estimates; train nothing.")
@click.option("--seconds", type=Number(), default=10, show_default=True, help="Of each measurement of --estimate.")
@click.option("--price", type=Number(), default=0, help="Per hour and process (GPU), for --estimate.")
def command(
    arch, data, weights, seed, images, figures, estimate, seconds, price, micro_batch, workers, minutes, **changes
):
    """Train, prune, retrain and evaluate the true AlexNet or VGG-16 on an image folder (Tables 1, 4 and 5).

    Repeat the command to go on where it was stopped, on as many processes as you like:
    torchrun --nproc-per-node N -m replication imagenet ...
    """
    with listening() as stop, processes() as group:
        options = ComputeOptions(micro_batch, workers, minutes, _reporter(group))
        own = imagenet_plan.recipe(arch, Changes(**changes))
        group.on_first(preflight.check_store)
        folder = _folder(data, group, workers)
        given: list = []  # the weights, in the first process alone
        network, identity = group.on_first(lambda: _given(weights, arch, folder, given))
        chain = imagenet_plan.chain(network, own, imagenet.dataset(folder), images, seed, identity)
        curves = imagenet_plan.curves(chain, own).values() if figures else ()
        sensitivity = [imagenet_plan.sensitivity(chain[0], own)] if figures else []
        plan = with_ancestors([*chain, *sensitivity, *(run for curve in curves for run in curve)])
        if not all(map(len, split(folder, images))):
            raise ReplicationError(f"{data} leaves no image for one of the splits: give more images")
        if not estimate:  # which stores nothing, and says itself what the disk lacks
            group.on_first(lambda: preflight.check_disk(plan))
        preflight.check_memory(network, group, options)
        if estimate:
            text = report(plan, imagenet.started(plan[0], folder, group, options, stop, *given), seconds, price)
            _say(group, text)
            return
        for run in plan:
            record = imagenet.compute(run, folder, group, options, stop, *given)
            if run.weights:
                given_weights.check_answers(record, len(folder.classes), weights)
            _say(group, _line(run, record))


def _say(group: ProcessGroup, text: str) -> None:
    """Print a text, in the first process alone."""
    if group.first:
        click.echo(text)


def _reporter(group: ProcessGroup) -> Callable[[str], None]:
    """Prints stages as they come, and a line about steps every minute; in the first process alone."""
    last, stage = [0.0], [""]

    def watch(event: str) -> None:
        kind = event.split(" images ")[0]
        if group.first and (kind != stage[0] or time.monotonic() - last[0] > BETWEEN):
            click.echo(event)
            last[0], stage[0] = time.monotonic(), kind

    return watch


def _folder(data: Path, group: ProcessGroup, threads: int) -> Folder:
    """The images below `data`, each looked at once by some process; what was found serves later commands."""
    folder = group.on_first(lambda: scan(data))
    found = group.on_first(lambda: cached(folder))
    if found is None:
        names = (*folder.train, *folder.val)
        _say(group, f"looking at {len(names)} images once")
        mine = looked(folder, (names[i] for i in shard(len(names), group)), threads)
        looks = [pair for part in group.all_gather(mine) for pair in part]
        found = group.on_first(lambda: checked(folder, looks))
        group.on_first(lambda: keep(found))
    _say(group, "\n".join(described(found)))
    return found


def described(folder: Folder) -> list[str]:
    """Lines about the images: how many, which are left out and why, how many are turned into RGB."""
    lines = [f"{len(folder.classes)} classes, {len(folder.train)} images in train, {len(folder.val)} in val"]
    lines += [f"{number} {kind} images are turned into RGB" for kind, number in folder.converted]
    if folder.skipped:
        lines.append(f"{len(folder.skipped)} images cannot be read and are left out:")
        lines += [f"  {name}: {reason}" for name, reason in folder.skipped]
    if folder.ignored:
        problem = "files are left out, deeper than their class or of no known ending"
        lines.append(f"{len(folder.ignored)} {problem}: {some(folder.ignored)}")
    return lines


def _given(source: str, arch: str, folder: Folder, weights: list) -> tuple[str, str]:
    """(network, what its run's `weights` says); the weights are put into the list."""
    given_weights.check_classes(folder, source)
    network, identity, state = given_weights.load(source, arch)
    weights.append(state)
    return network, identity


def _line(run: Run, record: Record) -> str:
    test = record.metrics["test"]
    return (
        f"{run}: {record.rate:.1f}x, test error {record.error():.2f} % (top-5 "
        f"{100 * test['top5_errors'] / test['images']:.2f} %), {record.provenance['seconds']:.0f} s ({run.key})"
    )
