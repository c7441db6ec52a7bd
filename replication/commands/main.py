"""The commands: python -m replication build | run | runs | ship | verify | pack | unpack | inspect."""

import io
import json
import sys
from functools import partial
from importlib import metadata
from pathlib import Path

import click

from .. import paths, storage
from ..claims import registry
from ..data import cifar, datasets, idx_files, paper
from ..errors import ReplicationError
from ..networks.registry import TITLES
from ..runs import profiles, recipes, scheduler, store
from ..runs.execution import ship as ship_run
from ..runs.spec import Record
from ..storage import packing
from ..training import machine
from . import recording, shipping


class Group(click.Group):
    """Prints a ReplicationError as one line and exits with 1; `imagenet`, which takes seconds to import, comes late."""

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted({*super().list_commands(context), "imagenet"})

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name == "imagenet" and name not in self.commands:
            from .imagenet import command

            self.add_command(command)
        return super().get_command(context, name)

    def main(self, *arguments, **options):
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # a locale without the letter stops no command
        return super().main(*arguments, **options)

    def invoke(self, context: click.Context):
        try:
            return super().invoke(context)
        except ReplicationError as error:
            if error.reported:
                raise SystemExit(1) from None
            raise click.ClickException(str(error)) from None


@click.group(cls=Group)
def main():
    """Replication of Han et al. 2015, Learning both Weights and Connections for Efficient Neural Networks."""


def plan_options(command):
    """The options that say which runs: --profile, --only, --jobs, --fresh."""
    for option in (
        click.option("--fresh", is_flag=True, help="Recompute what is stored already."),
        click.option("--jobs", type=click.IntRange(0), default=0, help="Processes at a time (0: one per processor)."),
        click.option("--only", multiple=True, metavar="NAME", help="This notebook alone; may be repeated."),
        click.option("--profile", default="laptop", show_default=True, help=" | ".join(profiles.PROFILES)),
    ):
        command = option(command)
    return command


@main.command()
@plan_options
def build(profile: str, only: tuple[str, ...], jobs: int, fresh: bool):
    """Compute what is missing, execute the notebooks and build the book."""
    from . import book  # the notebooks' libraries take seconds to import, and no process that computes runs needs them

    chosen, jobs = profiles.get(profile), jobs or machine.jobs()
    names = registry.notebooks(only)
    try:
        _compute(chosen, names, jobs, fresh)
    except ReplicationError as error:  # the notebooks that read the failed runs show the error; the others are built
        click.echo(f"error: {error}", err=True)
    if not book.build(chosen, names, jobs, click.echo, fresh):
        raise click.ClickException("the book was built with errors: see above")


@main.command()
@plan_options
@click.option("--scheduler", "address", default="", metavar="ADDRESS|local", help="Of a Dask cluster that computes.")
def run(profile: str, only: tuple[str, ...], jobs: int, fresh: bool, address: str):
    """Compute the runs of a profile that are not stored yet, without notebooks."""
    _compute(profiles.get(profile), registry.notebooks(only), jobs, fresh, address)


def _compute(profile: profiles.Profile, names: list[str], jobs: int, fresh: bool, address: str = "") -> None:
    plan = registry.plan(profile, names)
    records = scheduler.compute(plan, jobs, fresh, click.echo, address)
    click.echo(f"{len(records)} runs of the profile {profile.name} are stored in {paths.shown(paths.RUNS)}")


@main.command()
@click.argument("key", required=False)
def runs(key: str | None):
    """List the stored runs, or show the record of the run whose key starts with KEY.

    Where none of the stored runs does, one of those that come with the repository.
    """
    if key is None:
        for each in store.stored():
            _line(each)
        return
    here, given = store.stored(), {*store.stored("shipped"), *store.stored("recorded")}
    matching = [k for k in here if k.startswith(key)] or [k for k in given if k.startswith(key)]
    if len(matching) != 1:
        raise ReplicationError(
            f"{len(matching)} stored runs start with {key!r}: list them with `python -m replication runs`"
        )
    click.echo(json.dumps(store.load_record(matching[0]), indent=2))


def _line(key: str) -> None:
    """One line about a stored run; a damaged one is named and stops nothing."""
    try:
        record = Record(store.load_record(key))
    except ReplicationError as error:
        click.echo(f"{key}  {error}")
        return
    title, run = TITLES[record.run["network"]], record.run
    click.echo(
        f"{key}  {title:14} seed {run['seed']:<3} {record.stage:8} {record.rate:6.1f}x  "
        f"validation {record.error('validation'):6.2f} %  {record.provenance['seconds']:7.1f} s  "
        f"{'all' if run['images'] is None else run['images']} images"
    )


@main.command()
@click.argument("network", type=click.Choice([*recipes.REFERENCES, "sparse"]))
@click.option("--profile", default="laptop", show_default=True, help="Whose chosen rounds `sparse` packs.")
def ship(network: str, profile: str):
    """Train the dense reference of NETWORK, if it is not stored, and put it into data/models.

    `sparse`: pack the chosen rounds of the four networks' first seeds into data/models/NETWORK.sparse.safetensors.
    """
    if network == "sparse":
        click.echo("\n".join(shipping.ship(profiles.get(profile))))
        return
    record = ship_run(recipes.REFERENCES[network])
    click.echo(f"{paths.shown(paths.MODELS / record.key)}: validation error {record.error('validation'):.2f} %")


@main.command()
@click.option("--jobs", type=click.IntRange(0), default=0, help="Processes at a time (0: one per processor).")
@click.option("--fresh", is_flag=True, help="Recompute what is stored already.")
def record(jobs: int, fresh: bool):
    """Compute the long runs of the laptop profile and put their records into data/recorded, as they come.

    The sparsest networks come with their weights, as sparse files. What is stopped goes on by the same command.
    """
    recording.record(jobs, fresh, click.echo)


@main.command()
@click.argument("model", type=click.Path())
@click.argument("out", type=click.Path())
@click.option(
    "--bits", default="auto", show_default=True, help="Width: paper (conv 8, fc 5) | auto | 1 to 16 (rice: 0 to 24)."
)
@click.option(
    "--dtype", type=click.Choice(packing.DTYPES), help="Round weights to it, unless theirs has fewer bytes (else not)."
)
@click.option("--coding", type=click.Choice(list(storage.CODINGS)), default="relative", show_default=True)
@click.option(
    "--keep-masks", is_flag=True, help="Store a run's masks (mask.*), which are left out as the zeros tell them."
)
def pack(model: str, out: str, bits: str, dtype: str | None, coding: str, keep_masks: bool):
    """Store the pruned network MODEL in OUT by its kept weights and the gaps between them (section 5).

    MODEL: a safetensors file, or a state_dict or a checkpoint that torch.save wrote (.pth, .pt, .tar).
    """
    click.echo(packing.pack(model, out, bits, dtype, coding, keep_masks))


@main.command()
@click.argument("packed", type=click.Path())
@click.argument("out", type=click.Path())
def unpack(packed: str, out: str):
    """Turn the file PACKED that `pack` made back into OUT.safetensors, with dense tensors."""
    click.echo(packing.unpack(packed, out))


@main.command()
@click.argument("packed", type=click.Path())
def inspect(packed: str):
    """Show where the bytes of PACKED go, tensor by tensor."""
    click.echo(packing.table(packed))


@main.command()
def verify():
    """Check data, store and environment; say what is wrong."""
    problems: list[str] = []
    checks = [datasets.mnist_bytes, cifar.sample_bytes, *(partial(paper.read, name) for name in paper.SHA256)]
    if (paths.CIFAR / cifar.FILE).exists():
        checks.append(cifar.cifar10_bytes)
    fetched = {paths.FASHION / f"{name}.gz": sha for name, sha in idx_files.FASHION_SHA256.items()}
    checks += [partial(idx_files.read_idx, path, sha, cifar.AGAIN) for path, sha in fetched.items() if path.exists()]
    for check in checks:
        try:
            check()
        except ReplicationError as error:
            problems.append(str(error))
    problems += [*recording.problems(), *store.problems(), *shipping.problems(), *_environment()]
    for problem in problems:
        click.echo(problem)
    if problems:
        raise click.ClickException(f"{len(problems)} problems found")
    click.echo(f"data, environment and {len(store.stored())} stored runs are in order")


def _environment() -> list[str]:
    """What is installed in another version than requirements.lock names."""
    problems = []
    for line in Path(paths.LOCK).read_text("utf-8").splitlines():
        name, _, version = line.partition(";")[0].strip().partition("==")
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            installed = None
        needed = ";" not in line or installed  # lines with a marker may belong to another platform
        if version and needed and installed != version:
            problems.append(f"{name} is {installed or 'not installed'}, tested with {version}: run `make install`")
    return problems
