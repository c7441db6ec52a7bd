"""In which type a run is computed: by the processor's instructions, by the variable, and as its record says."""

import pytest
import torch
from conftest import small_chain

from replication import networks
from replication.data import datasets
from replication.errors import ReplicationError
from replication.runs import Run, execution, get_or_run
from replication.training import Training, machine, train

INTEL = {"architecture": "x86_64", "avx2": True, "avx512_f": True}


@pytest.fixture(autouse=True)
def unasked(monkeypatch):
    """Nothing is forced, and no earlier answer is remembered."""
    for name in (machine.VARIABLE, *machine.LIMITS):
        monkeypatch.delenv(name, raising=False)
    asked = machine.has_bfloat16
    asked.cache_clear()
    yield
    asked.cache_clear()


@pytest.mark.parametrize(
    ("capabilities", "dtype"),
    [
        (INTEL, torch.float32),
        (INTEL | {"avx512_bf16": False, "amx_bf16": False}, torch.float32),
        (INTEL | {"avx512_bf16": True}, torch.bfloat16),
        (INTEL | {"amx_bf16": True}, torch.bfloat16),
        ({"architecture": "arm64", "neon": True, "bf16": True}, torch.bfloat16),
        ({"architecture": "aarch64", "neon": True, "bf16": True}, torch.bfloat16),
        ({"architecture": "arm64", "neon": True}, torch.float32),
    ],
)
def test_processor_decides(monkeypatch, capabilities, dtype):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    monkeypatch.setattr(machine, "_is_fast", lambda: pytest.fail("torch knows this processor"))
    assert machine.compute_dtype("bfloat16", "cpu") == machine.compute_dtype("medium", "cpu") == dtype
    assert machine.compute_dtype("float32", "cpu") == torch.float32


@pytest.mark.parametrize("fast", [True, False])
def test_processor_that_torch_does_not_know_is_measured_once(monkeypatch, fast):
    measured = []
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"architecture": "riscv64"})
    monkeypatch.setattr(machine, "_is_fast", lambda: measured.append(1) or fast)
    for _ in range(3):
        assert machine.compute_dtype("bfloat16", "cpu") == (torch.bfloat16 if fast else torch.float32)
    assert len(measured) == 1


def test_processor_that_is_kept_from_its_instructions_is_measured(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: INTEL | {"amx_bf16": True})
    monkeypatch.setattr(machine, "_is_fast", lambda: False)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert machine.compute_dtype("bfloat16", "cpu") == torch.float32


@pytest.mark.parametrize(("capability", "dtype"), [((7, 5), torch.float32), ((8, 0), torch.bfloat16)])
def test_gpu_decides_by_its_compute_capability(monkeypatch, capability, dtype):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    assert machine.compute_dtype("bfloat16", "cuda:0") == dtype
    assert machine.compute_dtype("bfloat16", "mps") == torch.float32


@pytest.mark.parametrize(("forced", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_variable_forces_either(monkeypatch, forced, dtype):
    monkeypatch.setenv(machine.VARIABLE, forced)
    monkeypatch.setattr(machine, "has_bfloat16", lambda kind: forced == "float32")
    with machine.autocast("bfloat16", "cpu"):
        assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype == dtype
    with machine.autocast("float32", "cpu"):
        assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype == torch.float32
    before = torch.get_float32_matmul_precision()
    with machine.matmul_precision("medium", "cpu"):
        assert torch.get_float32_matmul_precision() == ("medium" if dtype == torch.bfloat16 else before)
    with machine.matmul_precision("float32", "cpu"):
        assert torch.get_float32_matmul_precision() == before
    assert torch.get_float32_matmul_precision() == before


def test_unknown_value_of_the_variable_is_named(monkeypatch):
    monkeypatch.setenv(machine.VARIABLE, "half")
    with pytest.raises(ReplicationError, match="REPLICATION_PRECISION is 'half': set it to float32 or bfloat16"):
        machine.compute_dtype("medium", "cpu")


def weights(name: str) -> dict[str, torch.Tensor]:
    """LeNet-5 after an epoch on 100 digits in this precision."""
    net, part = networks.lenet_5(torch.Generator().manual_seed(1)), datasets.mnist(100).train
    train(net, part, Training(1, 0.05, batch_size=25, precision=name), torch.Generator().manual_seed(0))
    return networks.weights(net)


def differ(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return not all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("name", ["medium", "bfloat16"])
def test_without_the_instructions_a_run_is_that_of_float32(monkeypatch, name):
    monkeypatch.setenv(machine.VARIABLE, "float32")
    assert not differ(weights(name), weights("float32"))


def test_forced_bfloat16_rounds(monkeypatch):
    monkeypatch.setenv(machine.VARIABLE, "bfloat16")
    assert differ(weights("bfloat16"), weights("float32"))


def test_with_the_instructions_a_run_has_the_bits_of_bfloat16(monkeypatch):
    if not machine.has_bfloat16("cpu"):
        pytest.skip("this processor has no instructions for bfloat16")
    own = {name: weights(name) for name in ("medium", "bfloat16")}
    monkeypatch.setenv(machine.VARIABLE, "bfloat16")
    assert not any(differ(own[name], weights(name)) for name in own)


@pytest.mark.parametrize(("forced", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_record_says_the_type_and_the_key_does_not_hang_on_it(monkeypatch, store, forced, dtype):
    monkeypatch.setenv(machine.VARIABLE, forced)
    run = Run("alexnet_32", 0, Training(1, 0.01, precision="bfloat16"), dataset="cifar10_sample", images=20)
    assert run.key == "f6067c646702c818"
    assert execution._images_dtype(run) == dtype
    assert get_or_run(run).provenance["precision"] == forced
    assert get_or_run(small_chain(0)[0]).provenance["precision"] == "float32"
    monkeypatch.setenv("REPLICATION_DEVICE", "cpu")
    used = "float32" if forced == "float32" else "bfloat16 products, float32"
    assert machine.describe(1.0, ["medium", "float32"])["precision"] == used


def test_record_names_the_graphics_card_that_computed_it(monkeypatch):
    monkeypatch.setenv("REPLICATION_DEVICE", "cpu")
    named = machine.describe(1.0, ["float32"])["processor"]
    monkeypatch.setattr(machine, "device", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a graphics card")
    found = machine.describe(1.0, ["float32"])
    assert (found["device"], found["processor"]) == ("cuda", "a graphics card")
    assert machine.processor() == named != "a graphics card"
