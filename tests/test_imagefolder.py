"""What an image folder may get wrong is said before anything is trained; single bad images are skipped and listed."""

import dataclasses
import itertools
import shutil
import struct
import zlib
from pathlib import Path

import photos
import pytest
import torch
from PIL import Image
from torchvision.models import AlexNet_Weights
from torchvision.transforms.functional import pil_to_tensor

from replication import imagenet
from replication.commands import imagenet as imagenet_command
from replication.errors import ReplicationError
from replication.imagenet import folder as imagefolder
from replication.imagenet import photographs as reading
from replication.imagenet.folder import cached, checked, keep, looked, scan


@pytest.fixture
def folder(photographs: Path, tmp_path: Path) -> Path:
    """A copy of the photographs that a test may damage."""
    return Path(shutil.copytree(photographs, tmp_path / "images"))


def verified(root: Path) -> imagefolder.Folder:
    folder = scan(root)
    return checked(folder, looked(folder, (*folder.train, *folder.val), 2))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:900])


def flatten(part: Path) -> None:
    for image in part.glob("*/*.jpg"):
        image.rename(part / image.name)


def rename_to_numbers(root: Path) -> None:
    for part in ("train", "val"):
        for number, place in enumerate(sorted((root / part).iterdir())):
            place.rename(root / part / str(number + 1))


def relist(root: Path) -> None:
    names = sorted(path.name for path in (root / "train").iterdir())
    (root / "classes.txt").write_text("\n".join(names))
    (root / "val" / "classes.txt").write_text("\n".join(reversed(names)))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: shutil.rmtree(root / "val"), "cannot read the folder .*val .*the layout is train/<class>"),
        (lambda root: shutil.rmtree(root / "val" / "class3"), "val lacks 1 classes of train: class3"),
        (lambda root: shutil.rmtree(root / "train" / "class3"), "train lacks 1 classes of val: class3"),
        (lambda root: (root / "val" / "class0").rename(root / "val" / "cats"), "val lacks 1 classes of train: class0"),
        (lambda root: [p.unlink() for p in (root / "train" / "class5").iterdir()], "no image lies in class5 of "),
        (lambda root: flatten(root / "val"), "val holds 53 images outside of class folders: sort them"),
        (lambda root: (root / "train" / "loop").symlink_to("loop"), "cannot read the folder .*train"),
        (relist, "val/classes.txt lists the classes in another order than .*images/classes.txt"),
        (rename_to_numbers, r"are numbers, which as text sort in another order \(1, 10, 2\): list them in classes.txt"),
        (lambda root: (root / "classes.txt").write_text("class0\nclass0"), "does not name each class folder once"),
        (lambda root: [truncate(p) for p in (root / "val" / "class2").iterdir()], "no image of class2 in .*val can be"),
        (lambda root: [truncate(p) for p in (root / "val").glob("*/*")], "of 253 images in .* cannot be read, val/"),
    ],
)  # fmt: skip
def test_damage_is_named_in_one_line(folder: Path, damage, message: str):
    damage(folder)
    with pytest.raises(ReplicationError, match=message) as error:
        verified(folder)
    assert "\n" not in str(error.value)


def test_bad_images_are_skipped_and_listed_and_colours_converted(folder: Path, store: Path):
    names = sorted((folder / "train" / "class1").iterdir())
    truncate(names[0])
    names[1].write_bytes(b"")
    Image.open(names[2]).convert("L").save(names[2])
    Image.open(names[3]).convert("CMYK").save(names[3])
    found = verified(folder)
    assert [name for name, _ in found.skipped] == [f"train/class1/{path.name}" for path in names[:2]]
    assert all(reason for _, reason in found.skipped)
    assert dict(found.converted) == {"CMYK": 1, "grayscale": 1}
    assert (len(found.train), len(found.val)) == (photos.TRAIN - 2, photos.VAL)
    for path in names[2:4]:
        assert reading.central(reading.read(path), 224).shape == (3, 224, 224)
    assert cached(scan(folder)) is None
    keep(found)
    assert cached(scan(folder)) == found  # the second look reads no image


@pytest.mark.parametrize(
    ("mode", "kind", "ending"),
    [("1", "grayscale", "png"), ("P", "palette", "png"), ("LA", "LA", "png"), ("RGBA", "RGBA", "png")]
    + [("YCbCr", "YCbCr", "tif"), ("LAB", "LAB", "tif")],
)
def test_every_mode_but_rgb_counts_as_turned_into_it(folder: Path, mode: str, kind: str, ending: str):
    place, image = photos.first(folder).with_name(f"other.{ending}"), Image.open(photos.first(folder))
    if mode == "LAB":
        Image.merge("LAB", image.split()).save(place)
    else:
        image.convert("L" if mode == "LA" else "RGB").convert(mode).save(place)
    with Image.open(place) as saved:
        assert saved.mode == mode
    assert dict(verified(folder).converted) == {kind: 1}
    assert f"1 {kind} images are turned into RGB" in imagenet_command.described(verified(folder))
    assert reading.read(place).mode == "RGB"


def test_transparent_palette_is_read_without_a_warning_and_with_its_colours(tmp_path: Path, recwarn):
    image = Image.new("P", (3, 1))
    image.putpalette([250, 0, 0, 0, 120, 0, 0, 0, 60])
    image.putdata([0, 1, 2])
    image.save(tmp_path / "a.png", transparency=bytes([0, 128, 255]))
    read = reading.read(tmp_path / "a.png")
    assert [read.getpixel((x, 0)) for x in range(3)] == [(250, 0, 0), (0, 120, 0), (0, 0, 60)]
    assert [str(each.message) for each in recwarn] == []


def test_image_that_becomes_unreadable_stops_the_loader_with_one_line(folder: Path):
    data = reading.split(scan(folder)).test
    truncate(folder / data.names[3])
    for workers in (0, 1):
        with pytest.raises(ReplicationError, match=r"val/.*jpg has become unreadable") as error:
            list(reading.batches(data, [[0, 1], [2, 3]], workers, torch.device("cpu")))
        assert "\n" not in str(error.value)


def test_other_images_give_another_digest(folder: Path):
    before = scan(folder)
    assert scan(folder) == before
    photos.first(folder).rename(photos.first(folder).with_name("other.jpg"))
    assert scan(folder).digest != before.digest
    assert scan(folder).classes == before.classes


def test_digest_of_the_same_names_and_sizes_never_changes(tmp_path: Path):
    for part, name, image in itertools.product(("train", "val"), "ab", (0, 1)):
        path = tmp_path / part / name / f"{image}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * (image + 1))
    assert imagenet.dataset(scan(tmp_path)) == "imagenet-5ad055fc2105"  # as stored runs name it


def test_classes_txt_gives_the_order_of_the_labels(folder: Path):
    names = [f"class{i}" for i in (3, 1, 4, 0, 5, 9, 2, 6, 8, 7)]
    (folder / "classes.txt").write_text("\n".join(names))
    found = scan(folder)
    assert found.classes == tuple(names)
    assert found.labels(["train/class3/a.jpg", "val/class9/b.jpg"]).tolist() == [0, 5]


def test_classes_txt_may_name_classes_of_several_words_and_describe_them(folder: Path):
    for part in ("train", "val"):
        (folder / part / "class1").rename(folder / part / "great white shark")
    names = [*(f"class{i}" for i in (3, 4, 0, 5, 9, 2, 6, 8, 7)), "great white shark"]
    (folder / "classes.txt").write_text("\n".join(names).replace("class4", "class4 a cat, Felis catus"), "utf-8-sig")
    assert scan(folder).classes == tuple(names)


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_classes_txt_that_is_no_utf8_is_named(folder: Path, encoding: str):
    (folder / "classes.txt").write_text("class0\nKäse", encoding)
    with pytest.raises(ReplicationError, match=r"cannot read .*classes.txt \(.*\): save it as UTF-8 text") as error:
        scan(folder)
    assert "\n" not in str(error.value)


def test_hidden_files_are_passed_over_as_hidden_folders_are(folder: Path):
    before = scan(folder)
    for place in ("train/class0/._0.jpg", "train/class0/.DS_Store", "val/._0.jpg", "val/.cache/0.jpg"):
        (folder / place).parent.mkdir(exist_ok=True)
        (folder / place).write_bytes(b"x")
    assert scan(folder) == before


def test_files_that_are_left_out_are_counted_and_named(folder: Path):
    before = scan(folder)
    left_out = ["train/class0/more/0.jpg", "train/class0/more/still/1.jpg", "train/class3/a.gif", "val/class1/b.jp2"]
    for place in left_out:
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_bytes(b"x")
    found = scan(folder)
    assert found == dataclasses.replace(before, ignored=tuple(left_out))
    assert imagenet_command.described(found)[-1].endswith(
        "4 files are left out, deeper than their class or of no known ending: train/class0/more/0.jpg, "
        "train/class0/more/still/1.jpg, train/class3/a.gif and 1 more"
    )
    assert "files are left out" not in " ".join(imagenet_command.described(before))


def test_images_in_a_folder_below_each_class_are_named_with_the_layout(folder: Path):
    image = photos.first(folder)
    (image.parent / "images").mkdir()
    for path in image.parent.glob("*.jpg"):
        path.rename(path.parent / "images" / path.name)
    with pytest.raises(ReplicationError, match=r"no image lies in class0 of .*the layout is train/<class>/<image>.jpg"):
        scan(folder)


def test_broken_link_is_called_one(folder: Path):
    path = photos.first(folder)
    path.unlink()
    path.symlink_to("gone.jpg")
    name = str(path.relative_to(folder))
    assert verified(folder).skipped == ((name, "a broken link"),)
    (folder / "train" / "class99").symlink_to("gone")
    with pytest.raises(ReplicationError, match=r"cannot read the folder .*train \(class99 is a broken link\)"):
        scan(folder)


def png(path: Path, values: list[int], colours: int) -> None:
    """Write a row of pixels of 16 bits; colours: 1 (gray) or 3."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = struct.pack(f">x{len(values)}H", *values)
    size = struct.pack(">IIBBBBB", len(values) // colours, 1, 16, {1: 0, 3: 2}[colours], 0, 0, 0)
    parts = chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)


@pytest.mark.parametrize("colours", [1, 3])
def test_images_of_16_bits_are_scaled_to_8(tmp_path: Path, colours: int):
    values = [0, 255, 256, 0x8040, 0xC0FF, 0xFFFF]
    png(tmp_path / "a.png", values, colours)
    expected = torch.tensor([0, 0, 1, 128, 192, 255], dtype=torch.uint8).view(-1, colours).expand(-1, 3)
    assert torch.equal(pil_to_tensor(reading.read(tmp_path / "a.png"))[:, 0].T, expected)


def test_images_whose_range_is_unknown_are_left_out(folder: Path):
    names = sorted((folder / "train" / "class1").iterdir())[:2]
    for path, mode in zip(names, ("F", "I")):
        Image.open(path).convert("L").convert(mode).save(path, "TIFF")
    png(photos.first(folder), [0, 0xFFFF], 1)
    found = verified(folder)
    assert [reason for _, reason in found.skipped] == ["32 bits a pixel, whose white is not known"] * 2
    assert dict(found.converted) == {"16-bit grayscale": 1}


def test_images_that_are_left_out_give_other_runs_and_come_back_when_mended(folder: Path, store: Path):
    paths = sorted((folder / "train" / "class1").iterdir())[:2]
    whole, contents = imagenet.dataset(verified(folder)), [path.read_bytes() for path in paths]

    def bad(path: Path) -> imagefolder.Folder:
        path.write_bytes(bytes(path.stat().st_size))
        return verified(folder)

    names = {imagenet.dataset(bad(paths[0]))}
    paths[0].write_bytes(contents[0])
    Image.open(paths[0]).verify()
    found = bad(paths[1])
    keep(found)
    assert cached(scan(folder)) == found
    names |= {imagenet.dataset(found), whole}
    assert len(names) == 3
    paths[1].write_bytes(contents[1])
    again = cached(scan(folder))
    assert not again.skipped and imagenet.dataset(again) == whole


def test_splits_part_the_images(photographs: Path):
    folder = scan(photographs)
    parts = reading.split(folder)
    assert {*parts.train.names, *parts.validation.names} == {*folder.train}
    assert len(parts.train.names) + len(parts.validation.names) == len(folder.train)
    assert sorted(parts.test.names) == sorted(folder.val)
    assert parts.train.y.tolist() == folder.labels(parts.train.names).tolist()


def test_evaluation_sees_what_torchvisions_weights_expect(photographs: Path):
    image = Image.open(photos.first(photographs))
    expected = AlexNet_Weights.IMAGENET1K_V1.transforms(antialias=True)(image)
    torch.testing.assert_close(reading.normalised(reading.central(image, 224)[None])[0], expected)


def test_random_crops_follow_from_the_seed_alone(photographs: Path):
    image = reading.read(photos.first(photographs))
    before = torch.random.get_rng_state()
    a, again, b = (reading.random_crop(image, 227, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(a, again) and not torch.equal(a, b)
    assert a.shape == (3, 227, 227) and a.dtype == torch.uint8
