import pytest
import torch
import torchvision

from replication import networks
from replication.errors import ReplicationError
from replication.imagenet import given_weights
from replication.networks import registry


@pytest.mark.parametrize(("name", "count"), [("alexnet", 61_100_840), ("vgg16", 138_357_544)])
def test_computes_what_torchvisions_model_computes(name, count):
    model = torchvision.models.get_model(name, weights=None).eval()
    net = given_weights.torchvisions(name, model.state_dict()).eval()
    assert sum(parameter.numel() for parameter in net.parameters()) == count
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(net(x), model(x), rtol=1e-4, atol=1e-5)
    assert list(networks.layers(net)) == list(networks.layers(registry.outline(name)))


def test_weights_of_another_network_and_unknown_names_are_refused():
    with pytest.raises(ReplicationError, match="not those of torchvision's alexnet"):
        given_weights.torchvisions("alexnet", networks.lenet_5().state_dict())
    with pytest.raises(ReplicationError, match="no weights for 'resnet18': choose from alexnet, vgg16"):
        given_weights.torchvisions("resnet18")


def test_weights_that_cannot_be_fetched_say_where_to_put_them(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def fails(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr("torch.hub.urlopen", fails)
    with pytest.raises(
        ReplicationError, match=r"alexnet cannot be fetched \(no route to host\): fetch alexnet-owt-.*pth"
    ):
        given_weights.torchvisions("alexnet")
