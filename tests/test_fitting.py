"""What does not fit between a network and its images: one line each, before anything is trained."""

from collections import namedtuple

import pytest
import torch
from torch import Tensor, nn

from replication import pruning
from replication.data import Split
from replication.errors import ReplicationError
from replication.pruning import search
from replication.training import Training, evaluate, train

ONCE = Training(1, 0.1, batch_size=10)


class Wrapped(nn.Module):
    """A network that makes something else of its logits."""

    def __init__(self, made, classes: int = 2):
        super().__init__()
        self.made, self.fc = made, nn.Linear(6, classes)

    def forward(self, x: Tensor):
        return self.made(self.fc(x))


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def faults(net: nn.Module, split: Split, settings: Training = ONCE) -> set[str]:
    """What training, evaluation and the search say; the network keeps its weights."""
    before, found = {name: t.clone() for name, t in net.state_dict().items()}, set()
    for use in (
        lambda: train(net, split, settings, seeded()),
        lambda: evaluate(net, split),
        lambda: search.choose_qualities(net, split, pruning.Pruning(damage=0.1)),
        lambda: search.choose_qualities(net, split, pruning.Pruning(damage=0.1, own_answers=True)),
    ):
        with pytest.raises(ReplicationError) as caught:
            use()
        found.add(str(caught.value))
    assert all(torch.equal(before[name], t) for name, t in net.state_dict().items())
    assert not any("\n" in message for message in found)
    return found


Output = namedtuple("Output", "logits aux")


@pytest.mark.parametrize(
    ("made", "kind"),
    [
        (lambda logits: (logits, logits), "tuple"),
        (lambda logits: [logits], "list"),
        (lambda logits: {"logits": logits}, "dict"),
        (lambda logits: Output(logits, logits), "Output"),
        (lambda logits: None, "NoneType"),
    ],
)
def test_answers_that_are_no_tensor_are_named(made, kind: str, blobs: Split):
    (message,) = faults(Wrapped(made), blobs)
    way_out = "wrap it in a module whose forward returns the logits alone"
    assert message == f"the network returns {kind}, not a tensor of logits: {way_out}"


@pytest.mark.parametrize(
    "made", [lambda x: x[:, 0], lambda x: x[..., None], lambda x: x.flatten()[None], lambda x: x.sum()], ids=range(4)
)
def test_answers_of_another_shape_are_named(made, blobs: Split):
    for message in faults(Wrapped(made), blobs):
        assert "the network returns the shape (" in message and "classes)" in message


@pytest.mark.parametrize(("labels", "highest"), [([0, 1, 2], 2), ([1, 2], 2), ([0, 9], 9)])
def test_label_beyond_the_answers_is_named_wherever_it_stands(labels: list[int], highest: int, blobs: Split):
    y = torch.zeros(100, dtype=torch.long)
    y[-len(labels) :] = torch.tensor(labels)  # the batches before have none
    expected = f"the network answers 2 classes, 0 to 1, a label is {highest}: number the classes from 0"
    (message,) = faults(Wrapped(nn.Identity()), Split(blobs.x, y))
    assert message.startswith(expected)


def test_probabilities_of_other_classes_are_named(blobs: Split):
    (message,) = faults(Wrapped(nn.Identity()), Split(blobs.x, torch.rand(100, 3).softmax(1)))
    assert message == "the network answers 2 classes, the probabilities are of 3"


@pytest.mark.parametrize(
    "images, held, way_out",
    [
        (torch.float64, torch.float32, "images by x.float()"),
        (torch.float32, torch.float64, "network by net.float()"),
        (torch.float32, torch.bfloat16, "network by net.float()"),
        (torch.float64, torch.bfloat16, "network by net.float() and the images by x.float()"),
    ],
)
def test_images_of_another_type_than_the_weights_are_named(images, held, way_out: str, blobs: Split):
    (message,) = faults(Wrapped(nn.Identity()).to(held), Split(blobs.x.to(images), blobs.y))
    names = [str(dtype).removeprefix("torch.") for dtype in (images, held)]
    assert message == f"the images are {names[0]}, the weights {names[1]}: convert the {way_out}"


def test_images_that_the_network_converts_itself_are_taken(blobs: Split):
    class Converting(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(6, 2).double()

        def forward(self, x):
            return self.layer(x.double())

    net = Converting().train()
    train(net, blobs, Training(10, 0.1, batch_size=10), seeded())
    assert net.training and evaluate(net, blobs).errors < 5


def test_images_of_twice_the_precision_train_a_network_of_that_precision(blobs: Split):
    double = Wrapped(nn.Identity()).double()
    train(double, Split(blobs.x.double(), blobs.y), Training(10, 0.1, batch_size=10), seeded())
    assert evaluate(double, Split(blobs.x.double(), blobs.y)).errors < 5


def test_a_complex_weight_is_named_before_the_optimiser_fails(blobs: Split):
    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.turn = nn.Parameter(torch.randn(6, 2, dtype=torch.complex64))

        def forward(self, x):
            return (x.to(torch.complex64) @ self.turn).abs()

    with pytest.raises(ReplicationError, match="turn is complex, and training is for real weights: hold its real and"):
        train(Turned(), blobs, Training(1, 0.1, batch_size=10), seeded())


def test_labels_of_32_bits_train_the_same_network(blobs: Split):
    nets = [nn.Sequential(nn.Linear(6, 2)) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    for net, y in zip(nets, (blobs.y, blobs.y.int())):
        train(net, Split(blobs.x, y), ONCE, seeded())
    assert torch.equal(nets[0][0].weight, nets[1][0].weight)


def normalised() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))


@pytest.mark.parametrize(("images", "size"), [(91, 10), (100, 99), (100, 1), (1, 10)])
def test_batch_of_one_image_is_named_before_batch_normalisation_fails(images: int, size: int, blobs: Split):
    net, split = normalised(), Split(blobs.x[:images], blobs.y[:images])
    before = {name: t.clone() for name, t in net.state_dict().items()}
    with pytest.raises(ReplicationError) as caught:
        train(net, split, Training(1, 0.1, batch_size=size), seeded())
    batches = f"{images} images in batches of {size} leave a batch of one image"
    assert str(caught.value) == f"{batches}, which batch normalisation cannot train on: choose another batch_size"
    assert all(torch.equal(before[name], t) for name, t in net.state_dict().items())


def test_batch_normalisation_trains_where_no_batch_is_of_one_image_or_it_can_take_one(blobs: Split):
    torch.manual_seed(0)
    net = normalised()
    train(net, blobs, Training(10, 0.1, batch_size=33 + 16), seeded())  # 49, 49, 2
    assert evaluate(net, blobs).errors < 5 and net[1].num_batches_tracked == 30
    spatial = nn.Sequential(nn.Conv1d(1, 4, 3), nn.BatchNorm1d(4), nn.Flatten(), nn.Linear(16, 2))
    split = Split(blobs.x[:91, None], blobs.y[:91])
    twin = nn.Sequential(*spatial)
    state = torch.random.get_rng_state()
    train(spatial, split, ONCE, seeded())  # four values for each channel
    assert spatial[1].num_batches_tracked == 10 and twin[1] is spatial[1]
    assert torch.equal(state, torch.random.get_rng_state())
    train(nn.Sequential(nn.Linear(6, 2)), Split(blobs.x[:91], blobs.y[:91]), ONCE, seeded())
