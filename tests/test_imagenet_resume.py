"""True-size AlexNet over processes: killed in every stage and resumed on other numbers of processes."""

import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch

from replication import imagenet, paths, runs
from replication.imagenet import Changes, plan, scan
from replication.runs.spec import ComputeOptions
from replication.training.checkpoints import Stop
from replication.training.processes import processes

# 9 images: steps of 4, 4 and 1, the last smaller than the number of processes; 5 and 4 test images
CHANGES = Changes(1, (1, 1), 1, 4, 1e-3, qualities=tuple((f"fc{i}", 1.0) for i in (1, 2, 3)), precision="float32")
IMAGES, MICRO = 9, 2
STAGES = (  # where a process kills itself, in the order in which a chain comes there
    "dense phase 0 epoch 0 images 8",
    "dense measure",
    "round 1 evaluate",  # what the pruning alone has lost
    "round 1 phase 0 epoch 0 images 8",
    "round 1 phase 1 epoch 0 images 8",
    "round 1 measure",
)


def chain(folder) -> list[runs.Run]:
    own = plan.recipe("alexnet", CHANGES)
    return plan.chain("alexnet", own, imagenet.dataset(folder), IMAGES)


def compute(rank: int, world: int, port: int, images: Path, store: Path, deadly: str) -> None:
    """Compute the chain as process `rank` of `world`; the last of them kills itself where `deadly` is reached."""

    def watch(event: str) -> None:
        if rank == world - 1 and deadly and event.endswith(deadly):
            os.kill(os.getpid(), signal.SIGKILL)

    paths.RUNS = store
    if world > 1:
        names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world, "MASTER_PORT": port}
        os.environ |= {name: str(value) for name, value in names.items()} | {"MASTER_ADDR": "127.0.0.1"}
    minutes = 0 if deadly else 60  # 0: a checkpoint at every step
    with processes() as group:
        folder = scan(images)
        for run in chain(folder):
            imagenet.compute(run, folder, group, ComputeOptions(MICRO, 0, minutes, watch), Stop())


def free_port() -> int:
    with closing(socket.socket()) as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def launch(world: int, images: Path, store: Path, deadly: str = "") -> None:
    """Fork `world` processes that compute the chain; when one is killed, the others are, as torchrun does."""
    port, pids, codes = free_port(), [], []
    for rank in range(world):
        pids.append(os.fork())
        if pids[-1] == 0:
            try:
                compute(rank, world, port, images, store, deadly)
            except BaseException as error:
                print(repr(error), file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
    for _ in range(world):
        pid, status = os.wait()
        codes.append(os.waitstatus_to_exitcode(status))
        pids.remove(pid)
        if codes[-1] != 0:
            for other in pids:
                os.kill(other, signal.SIGKILL)
    if deadly:
        assert codes[0] == -signal.SIGKILL or -signal.SIGKILL in codes, (deadly, codes)
    else:
        assert codes == [0] * world, codes


def scenario(images: Path, store: Path, worlds: tuple[int, ...]) -> None:
    """Kill the chain in each stage in turn, the k-th time on worlds[k] processes; then let it end."""
    torch.set_num_threads(1)
    for world, deadly in zip(worlds, (*STAGES[: len(worlds) - 1], "")):
        launch(world, images, store, deadly)
        print(f"{world} processes, {deadly or 'to the end'}", flush=True)


def ended(store: Path, images: Path, worlds: tuple[int, ...], monkeypatch) -> list[runs.Record]:
    """The chain's records after `scenario` in a process without threads, which forks best."""
    process = get_context("spawn").Process(target=scenario, args=(images, store, worlds))
    process.start()
    process.join()
    assert process.exitcode == 0
    monkeypatch.setattr(paths, "RUNS", store)
    assert not [*store.glob(".checkpoints/*")]
    return [runs.get(run) for run in chain(scan(images))]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, photographs) -> Iterator[list[runs.Record]]:
    """The chain on one process, not disturbed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPLICATION_DEVICE", "cpu")
        yield ended(tmp_path_factory.mktemp("whole"), photographs, (1,), patch)


def losses(record: runs.Record) -> list[float]:
    scores = [record.metrics[name]["loss"] for name in ("validation", "test")]
    return [row["loss"] for row in record.metrics["history"]] + scores


def assert_same(ours: list[runs.Record], store: Path, whole: list[runs.Record], whole_store: Path, monkeypatch) -> None:
    """The records tell of the same masks, and of the same weights and metrics within float tolerance."""
    for a, b in zip(ours, whole, strict=True):
        assert losses(a) == pytest.approx(losses(b), rel=1e-4)
        for name in ("validation", "test"):
            for count in ("errors", "top5_errors", "images"):
                assert a.metrics[name][count] == b.metrics[name][count]
        monkeypatch.setattr(paths, "RUNS", store)
        state, masks = a.tensors()
        monkeypatch.setattr(paths, "RUNS", whole_store)
        expected, expected_masks = b.tensors()
        assert all(torch.equal(masks[name], mask) for name, mask in expected_masks.items())
        assert masks.keys() == expected_masks.keys()
        for name, tensor in expected.items():
            torch.testing.assert_close(state[name], tensor, rtol=1e-4, atol=1e-6)
        assert a.layers.activation_density.to_numpy() == pytest.approx(b.layers.activation_density.to_numpy(), abs=1e-3)


@pytest.mark.parametrize(
    "worlds", [(2,), (2, 2, 2, 2, 2, 2, 2), (1, 2, 1, 2, 1, 2, 1)], ids=lambda w: "-".join(map(str, w))
)
def test_ends_as_if_never_killed_nor_spread(worlds, whole, photographs, tmp_path, monkeypatch):
    monkeypatch.setenv("REPLICATION_DEVICE", "cpu")
    whole_store = paths.RUNS
    records = ended(tmp_path / "runs", photographs, worlds, monkeypatch)
    assert records[1].rate > 1.5
    assert records[1].metrics["masks"] == whole[1].metrics["masks"]
    assert_same(records, tmp_path / "runs", whole, whole_store, monkeypatch)
