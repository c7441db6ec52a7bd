"""IDX files of bytes, MNIST's format: read and checked, those of any folder, and Fashion-MNIST's, fetched once."""

import gzip
import hashlib
import os
import re
import tempfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pooch
from filelock import FileLock

from .. import paths
from ..errors import ReplicationError
from ..storage import files

FASHION_SHA256 = {  # of the raw (unzipped) IDX files
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
DEBIAN = Path("/usr/share/datasets/fashion-mnist")  # where Debian's package dataset-fashion-mnist puts them
PREFIX = "idx-"  # of the name of a folder's data, before the digest
Arrays = dict[str, np.ndarray]  # by the names of MNIST's four files
Source = Callable[[Path], dict[str, bytes]]


def read_idx(path: Path, sha256: str, way_out: str) -> np.ndarray:
    """Read one IDX file of bytes, gzipped where its name ends in .gz, and check it.

    sha256: of its unzipped content (empty: any); way_out: what an error advises.
    Returns uint8, (N,) for labels or (N, 28, 28) for images.
    Raises ReplicationError where the file is missing, truncated, altered or of another format.
    """
    try:
        content = path.read_bytes()
        raw = gzip.decompress(content) if path.suffix == ".gz" else content
    except FileNotFoundError:
        raise ReplicationError(f"{paths.shown(path)} is missing: {way_out}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise ReplicationError(f"{paths.shown(path)} is truncated or damaged ({error}): {way_out}") from None
    if sha256 and hashlib.sha256(raw).hexdigest() != sha256:
        raise ReplicationError(f"{paths.shown(path)} is altered (its SHA-256 is not the pinned one): {way_out}")
    # magic number: 0, 0, 8 (unsigned byte), number of dimensions; then the dimensions
    start = 4 + 4 * raw[3] if raw[:3] == b"\0\0\x08" and len(raw) > 3 else len(raw) + 1
    shape = np.frombuffer(raw[4:start], ">i4").tolist() if start <= len(raw) else [-1]
    if min(shape, default=-1) < 0 or len(raw) != start + np.prod(shape, dtype=object):
        raise ReplicationError(f"{paths.shown(path)} is no whole IDX file of bytes: {way_out}")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)


def folder_bytes(folder: Path | str) -> Arrays:
    """The four files of any folder: images uint8 (N, 28, 28), labels uint8 (N,) of ten classes or fewer.

    They are called as MNIST's, with or without .gz, after a dot or a hyphen, whatever comes before (emnist-digits-...),
    `test` as well as `t10k`. Raises ReplicationError where one is missing, there twice, damaged, or of another kind.
    """
    folder, found = Path(folder), {}
    for name in FASHION_SHA256:
        found[name] = read_idx(_only(folder, name), "", "give a folder of MNIST's four files")
    for part in ("train", "t10k"):
        images, labels = found[f"{part}-images-idx3-ubyte"], found[f"{part}-labels-idx1-ubyte"]
        place = f"{paths.shown(folder)}: the {part} images are {images.shape}, the labels {labels.shape}"
        if images.shape[1:] != (28, 28) or labels.ndim != 1:
            raise ReplicationError(f"{place}: give images (N, 28, 28) and labels (N,)")
        if len(images) != len(labels) or len(labels) < 2:
            raise ReplicationError(f"{place}: give one label for each image, and two images or more")
        if labels.max() > 9:
            raise ReplicationError(f"{place} up to {labels.max()}: the LeNets tell ten classes apart, 0 to 9")
    return found


def _only(folder: Path, name: str) -> Path:
    """The one file in `folder` that stands for MNIST's file `name`, not zipped where it is there both ways."""
    part, kind, ending = name.split("-", 2)
    pattern = rf"(?:[^.].*-)?{part if part == 'train' else '(?:t10k|test)'}-{kind}[-.]{ending}"
    try:
        present = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise ReplicationError(f"cannot read {paths.shown(folder)} ({error.strerror}): give a folder") from None
    matching = {each.removesuffix(".gz"): each for each in reversed(present)}
    matching = [matching[each] for each in matching if re.fullmatch(pattern, each)]
    if len(matching) != 1:
        problem = "has no" if not matching else f"has {' and '.join(sorted(matching))} for"
        way_out = "give a folder with MNIST's four files, as they are or gzipped"
        raise ReplicationError(f"{paths.shown(folder)} {problem} {name}: {way_out}")
    return folder / matching[0]


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """16 hexadecimal digits that name the four files by their content, whatever they are called and however packed."""
    whole = hashlib.sha256()
    for name in FASHION_SHA256:
        whole.update(hashlib.sha256(np.ascontiguousarray(arrays[name])).digest())
    return whole.hexdigest()[:16]


def noted(folder: Path) -> str:
    """The name of a folder's data by their content, so that other files give other runs: "idx-" and the digest.

    Where the folder lies is noted beside the runs, for the processes that compute them. Errors: as `folder_bytes`.
    """
    name, place = PREFIX + digest(folder_bytes(folder)), os.fsencode(folder.resolve())
    note = paths.RUNS / ".data" / name
    if not note.exists() or note.read_bytes() != place:
        files.replace(note, [place])
    return name


def named(name: str) -> Arrays:
    """The files that `noted` gave this name; raises ReplicationError where they cannot be found or have changed."""
    note = paths.RUNS / ".data" / name
    folder = Path(os.fsdecode(note.read_bytes())) if note.exists() else None
    if not folder or PREFIX + digest(found := folder_bytes(folder)) != name:
        place = f"the files in {folder} are no longer those" if folder else "it is not known here where the files lie"
        raise ReplicationError(f"{place} of {name}: give the folder again, as -p dataset FOLDER")
    return found


def fashion_bytes(folder: Path = paths.FASHION) -> Arrays:
    """The four files of Fashion-MNIST, checksums verified; fetched on first use.

    Raises ReplicationError where no source can be reached or a stored file is damaged or altered.
    """
    stored = _stored(Path(folder))
    if not all(path.exists() for path in stored.values()):
        fetch_fashion(Path(folder))
    return {name: read_idx(path, FASHION_SHA256[name], "delete it to fetch it again") for name, path in stored.items()}


def _stored(folder: Path) -> dict[str, Path]:
    return {name: folder / f"{name}.gz" for name in FASHION_SHA256}


def fetch_fashion(folder: Path, sources: Mapping[str, Source] | None = None) -> None:
    """Get Fashion-MNIST from the first source that gives it and write it to `folder`, each file whole or not at all.

    Raises ReplicationError that names every source's problem and says where to put the files by hand.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"), tempfile.TemporaryDirectory(dir=folder) as aside:
            if all(path.exists() for path in _stored(folder).values()):  # another process was faster
                return
            found = _first(SOURCES if sources is None else sources, Path(aside), folder)
            for name, path in _stored(folder).items():
                files.replace(path, [found[name]])
    except OSError as error:
        raise files.cannot_write(folder, error, "put the four files there by hand", "what is there is kept") from None


def _first(sources: Mapping[str, Source], aside: Path, folder: Path) -> dict[str, bytes]:
    """What the first source gives that has all four files as they are pinned."""
    problems = []
    for source, get in sources.items():
        try:
            contents = get(aside)
            for name, sha in FASHION_SHA256.items():
                if hashlib.sha256(gzip.decompress(contents[name])).hexdigest() != sha:
                    raise ValueError(f"{name} is not the pinned one (SHA-256)")
            return contents
        except (OSError, ValueError, EOFError, zlib.error) as error:
            problems.append(f"{source}: {(str(error) or type(error).__name__).splitlines()[0][:160]}")
    way_out = f"put {', '.join(f'{name}.gz' for name in FASHION_SHA256)} into {paths.shown(folder)}"
    raise ReplicationError(f"Fashion-MNIST cannot be fetched ({'; '.join(problems)}): {way_out} and repeat the command")


def from_torchvision(aside: Path) -> dict[str, bytes]:
    """The official files, downloaded from where torchvision gets them."""
    from torchvision.datasets import FashionMNIST  # alone takes seconds

    downloader, found = pooch.HTTPDownloader(progressbar=True, timeout=(5, 20)), {}  # seconds to reach, to read
    for file, md5 in FashionMNIST.resources:
        path = pooch.retrieve(FashionMNIST.mirrors[0] + file, f"md5:{md5}", file, aside, downloader=downloader)
        found[file.removesuffix(".gz")] = Path(path).read_bytes()
    return found


def from_debian(aside: Path, place: Path = DEBIAN) -> dict[str, bytes]:
    """The files of Debian's package, where it is installed (apt-get install dataset-fashion-mnist)."""
    return {name: (place / f"{name}.gz").read_bytes() for name in FASHION_SHA256}


SOURCES: dict[str, Source] = {
    "torchvision's source": from_torchvision,
    "Debian's package dataset-fashion-mnist": from_debian,
}
