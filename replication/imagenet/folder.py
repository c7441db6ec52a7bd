"""A folder of photographs in ImageNet's layout: what it holds, checked before anything is trained on it."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torchvision.datasets.folder import IMG_EXTENSIONS

from .. import paths
from ..errors import ReplicationError
from ..storage import files

LAYOUT = "the layout is train/<class>/<image>.jpg and val/<class>/<image>.jpg"
LABELS = "classes.txt"  # in the folder itself: the classes in the order of their labels, one a line
OUTPUTS = 1_000  # of AlexNet and VGG-16
MOST_BAD = 0.1  # ours: more unreadable images than this share are a damaged folder, not single bad images
# names of modes that are converted, others have Pillow's; of 16 bits a pixel the upper 8 are taken (`photographs.read`)
COLOURS = {"L": "grayscale", "1": "grayscale", "P": "palette"}
COLOURS |= dict.fromkeys(("I;16", "I;16L", "I;16B", "I;16N"), "16-bit grayscale")


@dataclass(frozen=True)
class Folder:
    """What a folder of images holds.

    root: the folder; classes: names in the order of the labels; train, val: paths below the root, sorted; digest: of
    all paths and sizes, those left out included, 12 hexadecimal digits; skipped: (path, reason) of the images left out;
    converted: how many are turned into RGB, by kind; ignored: files that the layout does not know, below the root.
    """

    root: Path
    classes: tuple[str, ...]
    train: tuple[str, ...]
    val: tuple[str, ...]
    digest: str
    skipped: tuple[tuple[str, str], ...] = ()
    converted: tuple[tuple[str, int], ...] = ()
    ignored: tuple[str, ...] = ()

    @property
    def used(self) -> str:
        """As `digest`, but of the images that are used: another one where some are left out."""
        names = [self.digest, *(name for name, _ in self.skipped)]
        return _digest(names) if self.skipped else self.digest

    def labels(self, names: Iterable[str]) -> Tensor:
        """The labels, int64, of images given by their paths below the root."""
        number = {name: label for label, name in enumerate(self.classes)}
        return torch.tensor([number[name.split("/")[1]] for name in names], dtype=torch.int64)

    def summary(self) -> dict:
        """What a record says of the images: JSON values."""
        counts = {"classes": len(self.classes), "train": len(self.train), "val": len(self.val)}
        return counts | {"digest": self.digest, "skipped": list(self.skipped), "converted": dict(self.converted)}


def scan(root: Path) -> Folder:
    """Read the names below `root`; raises ReplicationError unless train and val hold the same classes, none empty."""
    root, ignored = Path(root).absolute(), []
    found = {part: _classes(root / part, ignored) for part in ("train", "val")}
    _compare(root, {*found["train"]}, {*found["val"]})
    order = _order(root, sorted(found["train"]))
    if len(order) > OUTPUTS:
        raise ReplicationError(f"{paths.shown(root)} holds {len(order)} classes: the networks have {OUTPUTS} outputs")
    train, val = (
        tuple(sorted(f"{part}/{name}/{image}" for name, images in of.items() for image in images))
        for part, of in found.items()
    )
    sizes = (f"{path} {_size(root / path)}" for path in train + val)
    left_out = (os.path.relpath(path, root) for path in ignored)
    left_out = tuple(sorted(path for path in left_out if "/." not in path))
    return Folder(root, order, train, val, _digest((*order, *sizes)), ignored=left_out)


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()[:12]


def _classes(place: Path, ignored: list[str]) -> dict[str, list[str]]:
    """By class folder of `place`, the names of its images; the paths of other files below it join `ignored`."""
    folders, names = _listing(place)
    for name in names:
        if not (place / name).exists():
            raise ReplicationError(f"cannot read the folder {paths.shown(place)} ({name} is a broken link): {LAYOUT}")
    loose = sum(map(_is_image, names))
    if loose:
        way_out = "sort them into one folder for each class, named as in train"
        raise ReplicationError(f"{paths.shown(place)} holds {loose} images outside of class folders: {way_out}")
    if not folders:
        raise ReplicationError(f"{paths.shown(place)} holds no class folders: {LAYOUT}")
    found = {}
    for name in folders:
        deeper, names = _listing(place / name)
        found[name] = list(filter(_is_image, names))
        ignored += (os.path.join(place, name, other) for other in names if not _is_image(other))
        walks = (os.walk(place / name / folder) for folder in deeper)
        ignored += (os.path.join(at, file) for walk in walks for at, _, files in walk for file in files)
    empty = [name for name, images in found.items() if not images]
    if empty:
        way_out = f"fill or delete the folder, in train and in val; {LAYOUT}"
        raise ReplicationError(f"no image lies in {some(empty)} of {paths.shown(place)}: {way_out}")
    return found


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMG_EXTENSIONS)


def _listing(place: Path) -> tuple[list[str], list[str]]:
    """The folders and the files in `place`, hidden ones left out."""
    try:
        with os.scandir(place) as listing:
            entries = [(entry.name, entry.is_dir()) for entry in listing if not entry.name.startswith(".")]
    except OSError as error:
        raise ReplicationError(f"cannot read the folder {paths.shown(place)} ({error.strerror}): {LAYOUT}") from None
    return [name for name, is_folder in entries if is_folder], [name for name, is_folder in entries if not is_folder]


def _size(path: Path) -> int:
    """Bytes; 0 for a file that cannot be read, which `look` names."""
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def some(names: Iterable[str]) -> str:
    """The first three names, and how many more."""
    names = sorted(names)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _compare(root: Path, train: set[str], val: set[str]) -> None:
    for missing, where, there in ((train - val, "val", "train"), (val - train, "train", "val")):
        if missing:
            problem = f"{paths.shown(root / where)} lacks {len(missing)} classes of {there}: {some(missing)}"
            raise ReplicationError(f"{problem}; both need the same class folders")


def _order(root: Path, names: list[str]) -> tuple[str, ...]:
    """The classes in the order of their labels: as classes.txt says, else by name.

    Raises ReplicationError where a list does not name each class once, where val has a list in another order, or where
    numbers as names would be put in the order of text.
    """
    lists = [place for place in (root / LABELS, root / "train" / LABELS, root / "val" / LABELS) if place.exists()]
    orders = [_listed(place, names) for place in lists]
    for place, order in zip(lists, orders):
        if order != orders[0]:
            problem = f"{paths.shown(place)} lists the classes in another order than {paths.shown(lists[0])}"
            raise ReplicationError(f"{problem}: the labels would disagree; keep one list")
    if orders:
        return orders[0]
    if all(name.isdecimal() for name in names) and names != sorted(names, key=int):
        problem = f"the class folders of {paths.shown(root)} are numbers, which as text sort in another order"
        raise ReplicationError(f"{problem} ({', '.join(names[:3])}): list them in {LABELS}, in the order of the labels")
    return tuple(names)


def _listed(place: Path, names: list[str]) -> tuple[str, ...]:
    """The classes as the file `place` lists them; `names`: those of the folders, sorted.

    A line is a name, or a name without spaces and whatever else is said of the class.
    """
    try:
        lines = [line.strip() for line in place.read_text("utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ReplicationError(f"cannot read {paths.shown(place)} ({error}): save it as UTF-8 text") from None
    listed = tuple(line if line in names else line.split()[0] for line in lines if line)
    if sorted(listed) != names:
        odd = {*listed} ^ {*names} or {name for name in listed if listed.count(name) > 1}
        raise ReplicationError(f"{paths.shown(place)} does not name each class folder once: see {some(odd)}")
    return listed


def look(path: Path) -> str:
    """The colour mode of an image whose data can be read to the end, else `!` and the reason."""
    try:
        with Image.open(path) as image:
            mode = image.mode
            image.draft("RGB", (1, 1))  # all data are decoded, but a JPEG's pixels computed at an eighth of the size
            image.load()
            return "!32 bits a pixel, whose white is not known" if mode in ("I", "F") else mode
    except Exception as error:  # Pillow raises many kinds for damaged files
        if path.is_symlink() and not path.exists():
            return "!a broken link"
        return "!" + " ".join(str(error).replace(str(path.parent), "").split())


def looked(folder: Folder, names: Iterable[str], threads: int) -> list[tuple[str, str]]:
    """(path, what `look` says of it) of these images; threads: how many read at the same time."""
    names = list(names)
    with ThreadPoolExecutor(max(1, threads)) as pool:
        return list(zip(names, pool.map(lambda name: look(folder.root / name), names)))


def cached(folder: Folder) -> Folder | None:
    """The folder without the images that an earlier pass found bad; None where there was no such pass.

    These are looked at again: mended at the same size, they are used.
    """
    try:
        found = json.loads(_cache(folder).read_text())
        again = looked(folder, (name for name, _ in found["skipped"]), 1)
        return checked(folder, again, found["converted"])
    except (OSError, ValueError, KeyError):
        return None


def keep(folder: Folder) -> None:
    """Store which images of the checked `folder` are left out, for `cached`; raises ReplicationError."""
    found = {"folder": str(folder.root), "skipped": folder.skipped, "converted": dict(folder.converted)}
    with files.replacing(_cache(folder), "set REPLICATION_RUNS to another folder", "nothing is lost") as aside:
        aside.write_text(json.dumps(found, indent=1))


def _cache(folder: Folder) -> Path:
    return paths.RUNS / ".images" / f"{folder.digest}.json"


def checked(folder: Folder, found: Iterable[tuple[str, str]], converted: Mapping[str, int] = {}) -> Folder:
    """The folder without the bad images among `found` (see `looked`).

    converted: how many others are turned into RGB, by kind.
    Raises ReplicationError where too many or a whole class would go.
    """
    found, whole = dict(found), len(folder.train) + len(folder.val)
    kinds = Counter(converted) + Counter(
        COLOURS.get(mode, mode) for mode in found.values() if mode != "RGB" and mode[0] != "!"
    )
    bad = {name: mode[1:] for name, mode in sorted(found.items()) if mode.startswith("!")}
    if len(bad) > MOST_BAD * whole:
        first, reason = next(iter(bad.items()))
        problem = f"{len(bad)} of {whole} images in {paths.shown(folder.root)} cannot be read, {first} first"
        raise ReplicationError(f"{problem} ({reason}): fetch the images again")
    train, val = (tuple(name for name in part if name not in bad) for part in (folder.train, folder.val))
    for part, names in (("train", train), ("val", val)):
        lost = {*folder.classes} - {name.split("/")[1] for name in names}
        if lost:
            problem = f"no image of {some(lost)} in {paths.shown(folder.root / part)} can be read"
            raise ReplicationError(f"{problem}: fetch them again")
    return replace(folder, train=train, val=val, skipped=tuple(bad.items()), converted=tuple(sorted(kinds.items())))
