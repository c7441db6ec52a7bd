"""One pruning of a long run: the search over all processes, the masks, and what was lost before retraining."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .datasets import Split
from .distributed import Group, share
from .errors import ReplicationError
from .long_run import Work, evaluate
from .networks import weights
from .photographs import Photographs, batches, side
from .precision import autocast
from .pruning import by_method, density, prune, threshold
from .sensitivity import choose_qualities
from .training import Score
from .training import evaluate as evaluate_split


class Chain(nn.Module):
    """The parts of a sequence, one after the other.

    Not an nn.Sequential: the search would keep what each part makes of all images, which for VGG-16 is too much.
    """

    def __init__(self, net: nn.Sequential):
        super().__init__()
        for name, part in net.named_children():
            self.add_module(name, part)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, H, W) -> logits (B, classes)."""
        for part in self.children():
            x = part(x)
        return x


def prune_round(work: Work) -> None:
    """Choose the qualities and prune the network of `work` in place, by the rule of its run (sections 3 and 4).

    Every process comes to the same masks, which is checked. Notes what was chosen in the position's metrics.
    """
    rule, metrics, old = work.run.pruning, work.position.metrics, work.masks or None
    if rule.reinitialise:
        raise ReplicationError("reinitialise is for the small networks: leave it out on an image folder")
    tensors, precision = weights(work.net), work.run.training.precision
    with autocast(precision, work.group.device):
        found = choose_qualities(Chain(work.net), _searched(work), rule, old, _score(work.group, work.means.micro))
    qualities, metrics["sensitivity"] = work.group.same(found)
    metrics["qualities"] = qualities
    metrics["thresholds"] = {name: threshold(tensors[name], q, old and old[name]) for name, q in qualities.items()}
    generator = torch.Generator().manual_seed(work.run.seed + 1_000_003 * len(work.run.ancestors))
    masks = by_method(rule, prune(tensors, qualities, old), old, tensors, generator)
    work.masks = work.group.spread({name: mask.contiguous() for name, mask in masks.items()})
    metrics["masks"] = work.group.check_masks(work.masks)
    for name, mask in work.masks.items():
        tensors[name].mul_(mask)
    metrics["density"] = density(work.masks)
    metrics["before_retraining"] = evaluate(work, work.parts.test, precision)
    work.position.pruned = True


def _searched(work: Work) -> Split | None:
    """This process's share of the held-out images that the search looks at, in memory; None where nothing is searched.

    Raises ReplicationError where there are fewer images than processes.
    """
    rule, part = work.run.pruning, work.parts.validation
    if rule.qualities:
        return None
    part = part.first(rule.images or None)
    mine = list(share(len(part.y), work.group))
    if len(part.y) < work.group.world:
        raise ReplicationError(f"{len(part.y)} held-out images for {work.group.world} processes: start fewer")
    data = Photographs(part, side(work.run.network))
    groups = [mine[i : i + work.means.micro] for i in range(0, len(mine), work.means.micro)]
    found = list(batches(data, groups, work.means.workers, work.group.device))
    x, y = torch.cat([batch.x for batch in found]), torch.cat([batch.y for batch in found])
    if rule.own_answers:
        with torch.no_grad():
            y = torch.cat([work.net.eval()(part).float().softmax(1) for part in x.split(work.means.micro)])
    return Split(x, y)


def _score(group: Group, micro: int) -> Callable[[nn.Module, Split], Score]:
    """`training.evaluate` over all processes, each with its share of the images, `micro` at a time."""

    def score(net: nn.Module, split: Split) -> Score:
        own = evaluate_split(net, split, micro)
        errors, images, loss = group.sums(own.errors, own.images, own.loss * own.images)
        return Score(int(errors), int(images), loss / images)

    return score
