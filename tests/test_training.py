"""Training and evaluation: masks, penalties, schedules, counts, randomness."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from replication import networks, pruning, training
from replication.data import Split
from replication.errors import ReplicationError
from replication.training import SCHEDULES, Score, Training, evaluate, loop, rate_at, sources, train


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small(seed: int = 0, hidden: int = 8) -> nn.Sequential:
    return networks.initialise(nn.Sequential(nn.Linear(6, hidden), nn.ReLU(), nn.Linear(hidden, 2)), seeded(seed))


def pruned_after_training(blobs: Split) -> tuple[nn.Sequential, dict[str, Tensor]]:
    """A trained network whose smaller weights were masked but still have their values."""
    net = small()
    train(net, blobs, Training(epochs=2, learning_rate=0.1, batch_size=10), seeded())
    masks = pruning.prune(networks.weights(net), {"0": 1.0, "2": 0.8})
    assert 0 < pruning.density(masks) < 0.7
    return net, masks


RETRAINING = Training(epochs=3, learning_rate=0.1, batch_size=10, momentum=0.9, weight_decay=1e-2, l1=1e-3)


def test_masked_weights_stay_exactly_zero(blobs: Split):
    net, masks = pruned_after_training(blobs)
    left: list[int] = []

    def count(row: dict) -> None:
        left.append(sum(int(w[~masks[name]].count_nonzero()) for name, w in networks.weights(net).items()))

    train(net, blobs, RETRAINING, seeded(1), masks, count)
    assert left == [0, 0, 0]


def test_without_masks_pruned_weights_come_back(blobs: Split):
    net, masks = pruned_after_training(blobs)
    pruning.apply_masks(net, masks)
    train(net, blobs, RETRAINING, seeded(1))
    assert all(weight[~masks[name]].any() for name, weight in networks.weights(net).items())


def test_masks_hold_without_a_single_epoch(blobs: Split):
    net, masks = pruned_after_training(blobs)
    before = {name: weight.clone() for name, weight in networks.weights(net).items()}
    assert train(net, blobs, Training(epochs=0, learning_rate=0.1), seeded(), masks) == []
    for name, weight in networks.weights(net).items():
        assert torch.equal(weight, before[name] * masks[name])


def test_kept_weights_go_on_from_their_values(blobs: Split):
    net, masks = pruned_after_training(blobs)
    before = {name: weight.clone() for name, weight in networks.weights(net).items()}
    train(net, blobs, Training(epochs=1, learning_rate=0.0), seeded(), masks)
    for name, weight in networks.weights(net).items():
        assert torch.equal(weight[masks[name]], before[name][masks[name]])


@pytest.mark.parametrize("penalty", ["l1", "weight_decay"])
def test_penalty_adds_its_gradient(blobs: Split, penalty: str):
    net = small()
    with torch.no_grad():
        net[0].weight[0, 0] = 0.0  # where |w| has no derivative, the subgradient is 0
    before = net[0].weight.detach().clone()
    F.cross_entropy(net(blobs.x), blobs.y).backward()
    gradient = net[0].weight.grad.clone() + 0.03 * (before.sign() if penalty == "l1" else before)
    settings = {"weight_decay": 0.0} | {penalty: 0.03}
    train(net, blobs, Training(1, 0.5, "constant", batch_size=100, momentum=0.0, **settings), seeded())
    torch.testing.assert_close(net[0].weight.detach(), before - 0.5 * gradient)


def test_l1_leaves_biases_alone(blobs: Split):
    plain, penalised = small(), small()
    options = {"schedule": "constant", "batch_size": 100, "momentum": 0.0, "weight_decay": 0.0}
    train(plain, blobs, Training(1, 0.5, **options), seeded())
    train(penalised, blobs, Training(1, 0.5, l1=0.03, **options), seeded())
    assert torch.equal(plain[2].bias, penalised[2].bias)
    assert not torch.equal(plain[2].weight, penalised[2].weight)


@pytest.mark.parametrize("batch_size", [7, 10, 64, 1000])
def test_loss_is_the_mean_per_image_whatever_the_last_batch(blobs: Split, batch_size: int):
    net = small()
    settings = Training(epochs=1, learning_rate=0.0, batch_size=batch_size)
    history = train(net, blobs, settings, seeded())
    assert history[0]["loss"] == pytest.approx(F.cross_entropy(net(blobs.x), blobs.y).item(), rel=1e-6)
    assert [row["epoch"] for row in history] == [1]


@pytest.mark.parametrize(("schedule", "end"), [("constant", 0.2), ("linear", 0.0), ("cosine", 0.0)])
def test_schedules_start_at_the_rate_and_end_where_they_should(schedule: str, end: float):
    settings = Training(epochs=1, learning_rate=0.2, schedule=schedule)
    assert rate_at(settings, 0.0) == 0.2
    assert rate_at(settings, 1.0) == pytest.approx(end, abs=1e-15)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_rate_rises_in_the_warmup_and_never_after(schedule: str):
    settings = Training(epochs=1, learning_rate=0.2, schedule=schedule, warmup=0.25)
    rates = [rate_at(settings, step / 100) for step in range(101)]
    assert rates[0] == 0
    assert all(a < b for a, b in pairwise(rates[:20]))
    assert all(a >= b for a, b in pairwise(rates[25:]))
    assert rates[25:] == [rate_at(Training(1, 0.2, schedule), step / 100) for step in range(25, 101)]


def test_diverging_training_says_so(blobs: Split):
    with pytest.raises(ReplicationError, match=r"training diverged in epoch \d+: lower the learning rate 1e\+20"):
        train(small(), blobs, Training(epochs=4, learning_rate=1e20, batch_size=10), seeded())


@pytest.mark.parametrize("name", ["epochs", "learning_rate", "weight_decay", "l1", "momentum", "warmup", "batch_size"])
def test_negative_setting_is_named(name: str):
    with pytest.raises(ReplicationError, match=f"{name} is -1"):
        Training(**({"epochs": 1, "learning_rate": 0.1} | {name: -1}))


@pytest.mark.parametrize("name", ["learning_rate", "weight_decay", "l1"])
def test_setting_that_is_no_number_is_named(name: str):
    with pytest.raises(ReplicationError, match=f"{name} is nan"):
        Training(**({"epochs": 1, "learning_rate": 0.1} | {name: float("nan")}))


def test_unknown_schedule_is_named():
    with pytest.raises(ReplicationError, match="unknown schedule 'step': choose from constant, linear, cosine"):
        Training(epochs=1, learning_rate=0.1, schedule="step")


@pytest.mark.parametrize("batch_size", [1, 3, 7, 50])
def test_evaluation_counts_errors_exactly(batch_size: int):
    logits = torch.tensor([[2.0, 1.0], [0.0, 3.0], [1.0, 0.5], [4.0, 0.0], [0.0, 1.0], [5.0, 1.0], [0.2, 0.1]])
    split = Split(logits, torch.tensor([0, 0, 1, 0, 1, 1, 0]))  # wrong: the second, the third and the sixth
    score = evaluate(nn.Identity(), split, batch_size)
    assert (score.errors, score.images) == (3, 7)
    assert score.loss == pytest.approx(F.cross_entropy(logits, split.y).item(), rel=1e-6)


def test_evaluation_is_without_dropout_and_changes_nothing(blobs: Split):
    net = nn.Sequential(nn.Dropout(0.9), small())
    before = [p.clone() for p in net.parameters()]
    assert evaluate(net, blobs) == evaluate(net[1], blobs)
    assert all(map(torch.equal, before, net.parameters()))


def test_training_needs_no_global_random_state(blobs: Split):
    nets = [small(), small()]
    for seed, net in enumerate(nets):
        torch.manual_seed(seed)
        train(net, blobs, Training(epochs=2, learning_rate=0.1, batch_size=10), seeded(4))
    assert all(map(torch.equal, nets[0].parameters(), nets[1].parameters()))
    other = small()
    train(other, blobs, Training(epochs=2, learning_rate=0.1, batch_size=10), seeded(5))
    assert not torch.equal(other[0].weight, nets[0][0].weight)


def test_a_separable_problem_is_learnt(blobs: Split):
    net = small()
    history = train(net, blobs, Training(epochs=20, learning_rate=0.1, batch_size=10), seeded())
    assert evaluate(net, blobs) == Score(0, 100, pytest.approx(0, abs=0.1))
    assert history[-1]["loss"] < history[0]["loss"] / 4


def test_augmented_images_are_shifted_and_mirrored_copies():
    x = torch.arange(2 * 3 * 8 * 8, dtype=torch.float32).view(2, 3, 8, 8).repeat(600, 1, 1, 1) + 1
    out = sources.augmented(x, torch.Generator().manual_seed(0), shift=2)
    assert out.shape == x.shape and torch.equal(out, sources.augmented(x, torch.Generator().manual_seed(0), shift=2))
    padded = torch.nn.functional.pad(x[:2], (2,) * 4)
    views = [padded[:, :, i : i + 8, j : j + 8] for i in range(5) for j in range(5)]
    views += [view.flip(3) for view in views]
    found = set()
    for image, number in zip(out, range(1_200)):
        matching = [k for k, view in enumerate(views) if torch.equal(image, view[number % 2])]
        assert len(matching) == 1
        found.update(matching)
    assert len(found) > 45 and torch.equal(x[0], x[2])


def test_place_and_mirror_of_every_augmented_image_are_drawn_in_this_order():
    x = torch.arange(1_100 * 3 * 6 * 8, dtype=torch.float32).view(1_100, 3, 6, 8)  # more than a batch, not square
    generator = torch.Generator().manual_seed(3)
    places, mirrored = torch.randint(9, (1_100,), generator=generator), torch.rand(1_100, generator=generator) < 0.5
    padded, out = torch.nn.functional.pad(x, (1,) * 4), sources.augmented(x, torch.Generator().manual_seed(3), shift=1)
    for image, place, mirror, given in zip(out, places.tolist(), mirrored.tolist(), padded):
        view = given[:, place // 3 : place // 3 + 6, place % 3 : place % 3 + 8]
        assert torch.equal(image, view.flip(2) if mirror else view)


def test_bfloat16_trains_float32_weights():
    split = Split(torch.randn(64, 4, generator=torch.Generator().manual_seed(0)), torch.arange(64) % 2)
    net = torch.nn.Sequential(torch.nn.Linear(4, 2))
    training.train(net, split, Training(1, 0.1, precision="bfloat16"), torch.Generator().manual_seed(0))
    assert net[0].weight.dtype == torch.float32
    with pytest.raises(ReplicationError, match="unknown precision 'float8': choose from"):
        Training(1, 0.1, precision="float8")


def test_pruned_weights_are_zero_to_the_bit(blobs):
    net = torch.nn.Sequential(torch.nn.Linear(6, 2))
    masks = {"0": torch.zeros(2, 6, dtype=torch.bool)}
    training.train(net, blobs, Training(1, 0.1), torch.Generator().manual_seed(0), masks)
    assert not net[0].weight.view(torch.int32).any()


class WithAnIdleLayer(nn.Module):
    """A network one layer of which takes no part."""

    def __init__(self):
        super().__init__()
        self.used, self.idle = small(), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x)


def test_layer_that_takes_no_part_stays_and_the_others_learn(blobs: Split):
    net = WithAnIdleLayer()
    idle, used = net.idle.weight.clone(), next(net.used.parameters()).clone()
    train(net, blobs, Training(1, 0.1), seeded())
    assert torch.equal(net.idle.weight, idle)
    assert not torch.equal(next(net.used.parameters()), used)


def test_layer_that_sits_out_one_step_is_trained_in_the_next():
    net = WithAnIdleLayer()
    descent, idle = loop.Optimiser(net, Training(1, 0.1), {}), net.idle.weight.clone()
    loss = sum(p.square().sum() for p in net.used.parameters())
    descent.step(loop.gradients(loss, descent.parameters), 0.1)
    assert torch.equal(net.idle.weight, idle)
    loss = sum(p.square().sum() for p in net.parameters())
    descent.step(loop.gradients(loss, descent.parameters), 0.1)
    assert not torch.equal(net.idle.weight, idle)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_gradients_are_those_of_backward_laid_out_as_the_parameters(layout: torch.memory_format):
    net, x = networks.lenet_5(seeded()).to(memory_format=layout), torch.rand(4, 1, 28, 28)
    parameters, loss = list(net.parameters()), F.cross_entropy(net(x), torch.arange(4))
    ours = loop.gradients(loss, parameters)
    assert all(gradient.stride() == p.stride() for gradient, p in zip(ours, parameters))
    F.cross_entropy(net(x), torch.arange(4)).backward()
    assert all(torch.equal(a, p.grad) for a, p in zip(ours, parameters))


@pytest.mark.parametrize("l1", [0.0, 1e-3])
def test_steps_are_those_of_torch_sgd_bit_by_bit(l1: float):
    nets, x, y = [networks.lenet_5(seeded()) for _ in range(2)], torch.rand(4, 1, 28, 28), torch.arange(4)
    ours = loop.Optimiser(nets[0], Training(1, 0.1, weight_decay=1e-2, l1=l1), {})
    theirs = torch.optim.SGD(nets[1].parameters(), 0.1, 0.9, weight_decay=1e-2, fused=True)
    for rate in (0.1, 0.1, 0.02):
        ours.step(loop.gradients(F.cross_entropy(nets[0](x), y), ours.parameters), rate)
        theirs.param_groups[0]["lr"] = rate
        theirs.zero_grad()
        F.cross_entropy(nets[1](x), y).backward()
        for layer in networks.layers(nets[1]).values():
            layer.weight.grad += l1 * layer.weight.detach().sign()
        theirs.step()
    assert all(torch.equal(a, b) for a, b in zip(nets[0].parameters(), nets[1].parameters()))
