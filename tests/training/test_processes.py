"""Several processes that share a batch learn what one learns from all of it."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
from jobs_of_runs import wait_for
from safetensors.numpy import load_file

from nucleigan.artifacts import write_json, write_stack
from nucleigan.config import ComputeSettings
from nucleigan.errors import NucleiganError, PassingError
from nucleigan.models.guards import MEASURES
from nucleigan.models.painter import Painter
from nucleigan.segmentation import Segmenter
from nucleigan.training import compute, launcher, processes
from nucleigan.training.compute import prepare

# A script as the workflow runs it: started once, it spreads over processes by itself.
SCRIPT = """
import sys
from pathlib import Path
from nucleigan.config import *
from nucleigan.jobs import job

kind, count, data, out = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4])
with job(out / "log.txt"):
    from nucleigan.models import cyclegan
    from nucleigan.models.train import train_segmenter
    from nucleigan.training.processes import spread

    spread(count, "cpu")
    compute = ComputeSettings(device="cpu", precision="float32", threads=1, processes=count)
    small = dict(epochs=2, decay_from=1, steps_per_epoch=int(sys.argv[5]), batch_size=4, crop=32,
                 pool_size=6, sample_every=1, checkpoint_seconds=0.5,
                 discriminator=DiscriminatorSettings(width=4, layers=2))
    if kind == "cyclegan":
        settings = CycleGANSettings(generator=GeneratorSettings(width=4, depth=1),
                                    latent_channels=4, mask_noise=0.3, lambda_polarity=2.0,
                                    slope_penalty=0.5, lambda_spectrum=0.5,
                                    lambda_nuclei=0.5, **small)
        cyclegan.train([data / "images.tif"], [data / "labels.tif"], [data / "labels.tif"],
                       out / "model.safetensors", out / "history.csv", out / "samples.png",
                       out / "checkpoint", settings, MaskSettings(), compute, 3)
    else:
        settings = SegmentationSettings(
            generator=GeneratorSettings(kind="unet", width=4, depth=2, dropout=0.0, norm="batch"),
            optimiser=OptimiserSettings(learning_rate=0.001, init_std=0.3),
            synthetic_share=0.5, dice=1.0, cross_entropy=1.0, l1=5.0, **small)
        pair = ([data / "images.tif"], [data / "labels.tif"])
        train_segmenter(kind, "both", pair, pair, data / "patches.csv", [],
                        out / "model.safetensors", out / "history.csv", out / "samples.png",
                        out / "checkpoint", settings, MaskSettings(),
                        StainSettings(normalize=False), compute, 3,
                        0.25, data / "reference.json")
"""
# Layers that look at a whole batch or draw for it, in double precision: two processes against one.
EXACT = """
import sys, warnings
from pathlib import Path
from nucleigan.jobs import job

with job(Path(sys.argv[1]) / "log.txt"):
    warnings.simplefilter("error")
    import torch
    from torch import nn
    from nucleigan.models.cgan import dice_loss
    from nucleigan.training import launcher, processes

    processes.spread(2, "cpu")

    def network(layout):
        torch.manual_seed(0)
        layers = [nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.Dropout(0.4), nn.Dropout2d(0.4),
                  nn.Conv2d(6, 2, 3), nn.Sigmoid()]
        return nn.Sequential(*layers).double().to(memory_format=layout)

    def error(ours, theirs):
        return ((ours - theirs).abs().max() / theirs.abs().max()).item()

    for layout in (torch.contiguous_format, torch.channels_last):
        drawn = torch.Generator().manual_seed(1)
        x = torch.randn(6, 2, 9, 9, generator=drawn, dtype=torch.float64).to(memory_format=layout)
        mask = (torch.rand(6, 2, 5, 5, generator=drawn) > 0.7).double()

        shared = network(layout)
        processes.share_layers(shared)
        torch.manual_seed(2)
        part = shared(processes.mine(x).contiguous(memory_format=layout))
        dice_loss(part, processes.mine(mask)).backward()
        processes.average_gradients(torch.optim.SGD(shared.parameters()))

        whole = network(layout)
        torch.manual_seed(2)
        y = whole(x)
        over = (0, 2, 3)
        both = y.sum(over) + mask.sum(over)
        (1 - (2 * (y * mask).sum(over) + 1) / (both + 1)).mean().backward()

        assert error(part, processes.mine(y)) < 1e-10
        gradients = list(zip(shared.parameters(), whole.parameters()))
        # Behind the first convolution comes a normalisation: its bias has no gradient but rounding.
        assert all((p.grad - q.grad).abs().max() < 1e-10 for p, q in gradients[:2])
        assert all(error(p.grad, q.grad) < 1e-10 for p, q in gradients[2:])
        pairs = zip(shared.buffers(), whole.buffers())
        assert all(error(p.double(), q.double()) < 1e-10 for p, q in pairs)
        if processes.rank() == 0:
            print("exact", flush=True)

    # Means over the windows of all processes, unequally many in each.
    from nucleigan.models.looks import NucleiLoss
    from nucleigan.models.spectrum import SpectrumLoss

    ours, theirs = (NucleiLoss(), SpectrumLoss()), (NucleiLoss(), SpectrumLoss())
    for step in range(3):
        drawn = torch.Generator().manual_seed(step)
        real, made = (0.3 * torch.randn(4, 3, 48, 48, generator=drawn).double() for _ in range(2))
        nuclei = torch.ones(4, 48, 48, dtype=torch.bool)
        nuclei[2:, :20] = False
        gain = torch.ones(3, 1, 1, dtype=torch.float64, requires_grad=True)
        mine = processes.mine
        part = ours[0](gain * mine(made), mine(nuclei), mine(real), mine(nuclei))
        part = part + ours[1](gain * mine(made), mine(real))
        part.backward()
        processes.average_gradients(torch.optim.SGD([gain]))
        shared = gain.grad.clone()

        gather, count = processes.gather, processes.count
        processes.gather, processes.count = (lambda alone: alone), (lambda: 1)
        gain.grad = None
        whole = theirs[0](gain * made, nuclei, real, nuclei) + theirs[1](gain * made, real)
        whole.backward()
        processes.gather, processes.count = gather, count
        assert error(part, whole) < 1e-10 and error(shared, gain.grad) < 1e-10

    # The slope penalty asks for gradients of gradients, through layers that look at all.
    from nucleigan.config import DiscriminatorSettings
    from nucleigan.networks import build_discriminator
    from nucleigan.training.adversarial import slope_penalty

    settings = DiscriminatorSettings(width=4, layers=2, norm="batch")
    image = torch.randn(4, 3, 24, 24, generator=drawn, dtype=torch.float64)
    alone, judge = (build_discriminator(settings, 3, 0.3, 0).double() for _ in range(2))
    slope_penalty(alone, image).backward()
    processes.share_layers(judge)
    slope_penalty(judge, processes.mine(image)).backward()
    processes.average_gradients(torch.optim.SGD(judge.parameters()))
    gradients = [(p.grad, q.grad) for p, q in zip(judge.parameters(), alone.parameters())]
    assert all(error(p, q) < 1e-8 for p, q in gradients if q is not None and q.abs().max() > 1e-8)
    if processes.rank() == 0:
        print("exact", flush=True)
"""
SHORT = Path(__file__).with_name("short_training.py")
# Seconds that nothing here takes, however busy the machine.
PATIENCE = 300
TIMES = ["seconds", "waiting_seconds"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    labels = np.zeros((6, 48, 48), np.int32)
    for patch in labels:
        for number in range(1, 6):
            y, x = rng.integers(4, 40, 2)
            patch[y : y + 7, x : x + 7] = number
        # One that holds windows to look into.
        patch[10:38, 10:38] = 6
    images = np.where(labels[..., None] > 0, 90, 220) + rng.integers(-20, 20, (6, 48, 48, 3))
    write_stack(folder / "images.tif", images.shape, np.uint8, images.astype(np.uint8))
    write_stack(folder / "labels.tif", labels.shape, np.int32, labels)
    write_json(folder / "reference.json", {})
    rows = "".join(f"slide{n // 2},organ{n // 4}\n" for n in range(6))
    (folder / "patches.csv").write_text("slide,organ\n" + rows)
    (folder / "script.py").write_text(SCRIPT)
    return folder


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_120"])


def start(kind, count, data, out, steps=4):
    out.mkdir(exist_ok=True)
    return run_script(data / "script.py", kind, count, data, out, steps)


def run_script(*arguments, **variables):
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={key: value for key, value in os.environ.items() if key != "LOCAL_RANK"} | variables,
    )


def finish(run):
    output, _ = run.communicate(timeout=PATIENCE)
    assert run.returncode == 0, output
    return output


def outputs(kind, weights, data):
    """What a trained network answers to the patches."""
    compute = ComputeSettings(device="cpu", precision="float32", threads=1)
    if kind == "cyclegan":
        labels = list(tifffile.imread(data / "labels.tif"))
        painted = Painter(weights, prepare(compute)).paint(labels, list(range(len(labels))))
        return painted / 127.5 - 1
    segmenter = Segmenter.load(weights, compute)
    return np.stack([segmenter.predict(one) for one in tifffile.imread(data / "images.tif")])


@pytest.mark.parametrize("kind", ["cyclegan", "cgan"])
def test_two_processes_learn_what_one_learns(kind, data, tmp_path):
    for count in (1, 2):
        finish(start(kind, count, data, tmp_path / str(count)))
    one, two = (outputs(kind, tmp_path / n / "model.safetensors", data) for n in ("1", "2"))
    # Weights that change nothing, biases before a normalisation, follow rounding errors through
    # Adam: so the outputs are compared, in grey levels or in parts of how much they vary.
    error = np.abs(two - one).max()
    assert error <= (1.01 / 127.5 if kind == "cyclegan" else 0.02 * one.std())
    assert one.std() > 0.01
    alone, shared = (pd.read_csv(tmp_path / n / "history.csv").drop(columns=TIMES) for n in "12")
    # The guards of a CycleGAN are no losses: differences and ratios, near nought here, and a share
    # of pixels, of which some lie on the fence.
    watched = alone.columns.intersection(MEASURES)
    for name in watched:
        limits = {"bright": {"atol": 2e-2}, "woven": {"rtol": 1e-2}}.get(name, {"atol": 2e-3})
        pd.testing.assert_series_equal(shared[name], alone[name], **limits)
    losses = (history.drop(columns=watched) for history in (shared, alone))
    pd.testing.assert_frame_equal(*losses, rtol=1e-3)
    # The first process alone speaks and writes.
    lines = [(tmp_path / n / "log.txt").read_text().count("device=cpu") for n in ("1", "2")]
    assert lines == [1, 1] and (tmp_path / "2/samples.png").exists()
    assert not list((tmp_path / "2/checkpoint").glob("*.safetensors"))


def test_layers_of_two_processes_do_what_those_of_one_do(tmp_path):
    (tmp_path / "script.py").write_text(EXACT)
    finish(run_script(tmp_path / "script.py", tmp_path))
    assert (tmp_path / "log.txt").read_text() == "exact\n" * 3


def run_short(what, out, patience=1):
    run = run_script(SHORT, what, out, TORCH_ELASTIC_SHUTDOWN_TIMEOUT=str(patience))
    output, _ = run.communicate(timeout=PATIENCE)
    return run.returncode, output, (out / "log.txt").read_text()


def test_sigterm_ends_both_as_it_does_one(tmp_path):
    status, output, log = run_short("stopped", tmp_path)
    assert status == 128 + signal.SIGTERM
    lines = ["begins", "begins", "SIGTERM: stopped after step 4 of 5, saved"]
    assert log.splitlines() == output.splitlines() == lines
    assert (tmp_path / "checkpoint/checkpoint.safetensors").exists()


def test_sigterm_in_the_last_step_fails_nothing(tmp_path):
    status, output, _ = run_short("stopped at last", tmp_path, patience=30)
    assert status == 0, output
    assert (tmp_path / "done").exists()


def test_no_process_ends_with_threads_of_the_group(tmp_path):
    status, output, _ = run_short("ended", tmp_path)
    assert status == 0, output
    assert {path.name for path in tmp_path.glob("*[01]")} == {"alone0", "alone1"}


def test_an_error_of_any_process_is_in_the_log(tmp_path):
    status, output, log = run_short("error", tmp_path)
    assert status == 1
    told = f"error: ValueError: unexpected (in full: {tmp_path / 'log.txt'})"
    assert [line for line in output.splitlines() if "rror" in line] == [told]
    assert log.startswith("begins\nbegins\nIn process 1:\nTraceback")
    assert log.endswith("ValueError: unexpected\n") and log.count("Traceback") == 1


@pytest.mark.parametrize("what", ["sentence", "error everywhere", "killed"])
def test_what_a_person_can_mend_is_said_once(tmp_path, what):
    status, output, log = run_short(what, tmp_path)
    assert status == 1
    killed = "process 1 of the training was killed, mostly for a lack of memory"
    words = killed if what == "killed" else "images.tif: is cut off; copy it again."
    assert log == output and log.startswith(f"begins\nbegins\nerror: {words}")
    assert log.count("\n") == 3


@pytest.mark.parametrize(
    ("ends", "words"),
    [
        # One loses its peer, whose death torchrun sees a moment later, in the next second.
        ({0: (1, 10.99), 1: (-signal.SIGKILL, 11)}, "process 1 of the training was killed"),
        # One is killed because it does not end within the half minute after the other's error.
        ({0: (-signal.SIGKILL, 40), 1: (1, 10.2)}, "error at 10.2"),
        # One is stopped because of the other.
        ({0: (-signal.SIGTERM, 10), 1: (1, 10.2)}, "error at 10.2"),
        ({0: (1, 10.3), 1: (1, 10.2)}, "error at 10.2"),
        ({0: (3, 10)}, "process 0 of the training ended with 3"),
    ],
)
@pytest.mark.parametrize("passes", [False, True])
def test_the_first_error_is_that_of_the_job(ends, words, passes):
    def failure(status, when):
        said = dict(time=when, sentence=f"error at {when}", passes=passes, in_full="")
        given = said if status == 1 else {}
        return SimpleNamespace(exitcode=status, timestamp=int(when), error_file_data=given)

    failures = {rank: failure(*end) for rank, end in ends.items()}
    with pytest.raises(NucleiganError, match=words) as caught:
        launcher._fail(failures, asked=False)
    # Whether another try may go well is what the process says; one that was killed says nothing.
    assert isinstance(caught.value, PassingError) == (passes or "process" in words)


def test_both_stop_at_sigterm_and_go_on(data, tmp_path):
    long = start("cgan", 2, data, tmp_path / "stopped", steps=60)
    saved = tmp_path / "stopped/checkpoint/checkpoint.safetensors"
    wait_for(lambda: saved.exists() or long.poll() is not None)
    long.send_signal(signal.SIGTERM)
    output, _ = long.communicate(timeout=PATIENCE)
    assert long.returncode == 128 + signal.SIGTERM
    assert "SIGTERM: stopped after step" in output and "Traceback" not in output
    assert "resumed after step" in finish(start("cgan", 2, data, tmp_path / "stopped", steps=60))
    finish(start("cgan", 2, data, tmp_path / "whole", steps=60))
    one, other = (load_file(tmp_path / n / "model.safetensors") for n in ("stopped", "whole"))
    assert all((one[name] == other[name]).all() for name in one)


def test_what_cannot_be_shared_is_one_sentence(data, tmp_path):
    run = start("cgan", 3, data, tmp_path / "out")
    output, _ = run.communicate(timeout=PATIENCE)
    assert run.returncode != 0
    assert "error: batch_size is 4, which 3 processes cannot share evenly" in output
    assert not (tmp_path / "out/model.safetensors").exists()


def test_of_one_process_nothing_changes():
    tensor = torch.arange(6.0)
    assert processes.count() == 1 and processes.rank() == 0
    assert processes.mine([1, 2, 3]) == [1, 2, 3]
    assert processes.gather(tensor) is tensor and processes.total(tensor) is tensor
    assert processes.any_of(True, False) == [True, False]
    network = torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.Dropout())
    processes.share_layers(network)
    assert [type(layer) for layer in network] == [torch.nn.BatchNorm2d, torch.nn.Dropout]
    processes.check_batch(7)
    processes.spread(1, "cuda:0")


def test_a_batch_that_three_processes_cannot_share(monkeypatch):
    monkeypatch.setattr(processes, "count", lambda: 3)
    processes.check_batch(6)
    with pytest.raises(NucleiganError, match="cannot share evenly; make it a multiple of 3"):
        processes.check_batch(4)
    processes.check_batch(6, together=2)
    with pytest.raises(NucleiganError, match="cannot share 2 by 2; make it a multiple of 6"):
        processes.check_batch(3, together=2)


def test_shared_statistics_of_one_process_are_those_of_torch():
    torch.manual_seed(0)
    x = torch.randn(4, 3, 5, 6) * 2 + 1
    ours, theirs = processes.SharedBatchNorm(3), torch.nn.BatchNorm2d(3)
    for layer in (ours, theirs):
        with torch.no_grad():
            layer.weight.copy_(torch.tensor([1.0, 2.0, 0.5]))
    torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


def test_what_torchrun_is_told_on_one_node_and_on_several():
    one = processes.torchrun_arguments(4, ["train.py"], {})
    assert one == ["--nproc-per-node=4", "--standalone", "train.py"]

    job = {"SLURM_JOB_NUM_NODES": "3", "SLURMD_NODENAME": "gpu7", "SLURM_JOB_ID": "1234567"}
    command = processes.on_each_node(["train.py", "a"], job)
    # In the step that the script runs in, which has one task and all of the job's resources.
    expected = {"--overlap", "--nodes=3", "--ntasks=3", "--ntasks-per-node=1"}
    assert command[0] == "srun" and expected <= set(command)
    assert command[-3:] == [sys.executable, "train.py", "a"]

    variable, first = (
        next(one for one in command if "--export=ALL," in one).split(",")[1].split("=")
    )
    job |= {variable: first, "SLURMD_NODENAME": "gpu8"}
    told = processes.torchrun_arguments(4, ["train.py", "a"], job)
    assert {"--nnodes=3", "--nproc-per-node=4", "--rdzv-id=1234567"} <= set(told)
    assert "--rdzv-endpoint=gpu7:24567" in told and "--standalone" not in told
    assert told[-2:] == ["train.py", "a"]


def test_two_jobs_of_a_node_meet_at_ports_of_their_own():
    job = {"SLURM_JOB_NUM_NODES": "2", processes.FIRST_NODE: "gpu7"}
    told = [
        processes.torchrun_arguments(2, ["train.py"], job | {"SLURM_JOB_ID": number})
        for number in ("4294901760", "42")
    ]
    ends = {one.split(":")[1] for each in told for one in each if "endpoint" in one}
    assert ends == {"21760", "20042"}


@pytest.mark.parametrize(
    ("device", "backend", "taken"),
    [("cpu", "gloo", []), ("auto", "nccl", [1]), ("cuda", "nccl", [1])],
)
def test_the_backend_is_that_of_the_device(monkeypatch, two_gpus, device, backend, taken):
    found = []
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "set_device", found.append)
    monkeypatch.setattr(
        torch.distributed,
        "init_process_group",
        lambda name, timeout: name == backend or pytest.fail(name),
    )
    processes.spread(2, device)
    assert found == taken


@pytest.mark.parametrize(("backend", "kind"), [("nccl", "cuda"), ("gloo", "cpu")])
def test_what_processes_tell_each_other_lies_where_their_backend_reads_it(
    monkeypatch, backend, kind
):
    """NCCL sends what lies on a GPU, and nothing else."""
    made, plain = [], torch.tensor

    def tensor(values, device, **settings):
        made.append(device)
        return plain(values, **settings)

    for name, answer in [
        ("is_initialized", lambda: True),
        ("get_world_size", lambda: 2),
        ("get_backend", lambda: backend),
        ("all_reduce", lambda value, how=None: None),
    ]:
        monkeypatch.setattr(torch.distributed, name, answer)
    monkeypatch.setattr(torch, "tensor", tensor)
    assert compute._everywhere(True) and processes.any_of(False, True) == [False, True]
    assert processes.mean_losses({"fool": 3.0}) == {"fool": 1.5}
    assert made == 3 * [kind]


@pytest.mark.parametrize(
    ("device", "number", "words"),
    [
        ("auto", 3, "compute.processes is 3, but PyTorch sees 2 CUDA devices"),
        ("gpu", 2, "use auto, cpu, cuda or cuda:N"),
    ],
)
def test_gpus_that_do_not_suffice_are_refused(two_gpus, device, number, words):
    with pytest.raises(NucleiganError, match=words):
        processes.spread(number, device)
