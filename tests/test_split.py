"""A split is checked once, when it is made: counts, shapes, values and types, one line for each fault."""

import pytest
import torch
from torch import Tensor, nn

from replication import pruning
from replication.data import Split, datasets
from replication.errors import ReplicationError
from replication.pruning import search
from replication.training import Training, evaluate, train

X, Y = torch.rand(6, 1, 4, 4), torch.tensor([0, 1, 2, 0, 1, 2])


def fault(x: object, y: object) -> str:
    with pytest.raises(ReplicationError) as caught:
        Split(x, y)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (torch.rand(200, 4), torch.zeros(150, dtype=torch.long), "200 images have 150 labels: give one for each image"),
        (X, Y.repeat(2), "6 images have 12 labels"),
        (X, torch.tensor(1), "6 images have 1 labels"),
        (X[:0], Y[:0], r"the images have the shape \(0, 1, 4, 4\): a split needs at least one"),
        (torch.rand(6, 0), Y, r"the images have the shape \(6, 0\)"),
        (torch.tensor(1.0), Y, r"the images have the shape \(\)"),
        (X, Y.view(6, 1), r"the labels are \(6, 1\) of int64: give \(6,\) of whole numbers, or \(6, classes\)"),
        (X, Y.view(6, 1).float(), r"the labels are \(6, 1\) of float32"),
        (X, torch.eye(3, dtype=torch.long)[Y], r"the labels are \(6, 3\) of int64"),
        (X, Y.float(), r"the labels are \(6,\) of float32: give \(6,\) of whole numbers"),
        (X, torch.rand(6, 3) + 1, "their rows no probabilities that sum to 1"),
        (X, torch.full((6, 3), torch.nan), "their rows no probabilities that sum to 1"),
        (X, Y - 1, "label 0 is -1: number the classes from 0 on"),
        (X, torch.tensor([0, 1, 2, -100, 0, 1]), "label 3 is -100"),
        (X.mul(255).byte(), Y, r"the images are uint8: scale them to floating point, as by x.float\(\) / 255"),
        (X > 0.5, Y, "the images are bool"),
        (X.to(torch.complex64), Y, "the images are complex64"),
        (X.numpy(), Y, "the images of a split are of the type ndarray: give a tensor"),
        (X, Y.tolist(), "the labels of a split are of the type list: give a tensor"),
    ],
)
def test_fault_is_named_in_one_line(x: object, y: object, message: str):
    with pytest.raises(ReplicationError, match=message):
        Split(x, y)
    assert fault(x, y)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_images_that_are_not_finite_are_numbered(value: float, dtype: torch.dtype):
    x = X.to(dtype, copy=True)
    x[4, 0, 3, 3] = x[2, 0, 0, 0] = value
    assert fault(x, Y) == f"image 2 of 6 holds {value} (2 do): repair or remove them"
    assert fault(x.contiguous(memory_format=torch.channels_last), Y).startswith(f"image 2 of 6 holds {value}")
    assert fault(x[:, 0, 0, 0], Y).startswith(f"image 2 of 6 holds {value} (1 do)")


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.uint8, torch.int8, torch.int64])
def test_whole_labels_become_int64(dtype: torch.dtype):
    split = Split(X, Y.to(dtype))
    assert split.y.dtype == torch.int64 and torch.equal(split.y, Y) and split.x is X


def test_what_networks_take_stays_as_it_is():
    tokens, probabilities = torch.arange(12).view(6, 2), torch.rand(6, 3).softmax(1)
    assert Split(tokens, Y).x is tokens
    assert Split(X, probabilities).y is probabilities
    assert torch.equal(Split(X, Y > 0).y, (Y > 0).long())


def test_batches_and_parts_of_a_split_are_not_checked_again(blobs: Split, monkeypatch: pytest.MonkeyPatch):
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))

    def never(x: Tensor, y: Tensor):
        raise AssertionError("a split is checked again")

    monkeypatch.setattr(datasets, "checked", never)
    train(net, blobs, Training(2, 0.1, batch_size=10), torch.Generator().manual_seed(0))
    evaluate(net, blobs.to(torch.device("cpu")), batch_size=7)
    for own_answers in (False, True):
        search.choose_qualities(net, blobs, pruning.Pruning(damage=0.1, images=50, own_answers=own_answers))
    with pytest.raises(AssertionError):
        Split(*blobs)
