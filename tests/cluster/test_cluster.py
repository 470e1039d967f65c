"""The tiny workflow through SLURM: the same results as here, whatever happens to its jobs.

One file, since a machine has one cluster and the files of a test run may be spread over processes.
"""

import os
import re
import shutil
import signal
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from cluster.conftest import PATIENCE
from cluster.slurm import KILL_WAIT, ask, processes, wait_until
from jobs_of_runs import looks_and_ends
from tiny_workflow import ROOT, assert_same_file, assert_same_results

# What asks SLURM for a GPU.
NETWORKS = {
    "train_cyclegan",
    "synthesis_synthesize_pairs",
    "judge_synthesis",
    "train_judge",
    "agreement_judge_agreement",
    "train_segmenter",
    "choose_thresholds",
    "predictions_segment_slide",
    "calibrate",
}

# A job that takes both GPUs for a moment, at once.
URGENT = (
    "sbatch --output=/dev/null --partition=urgent --nodes=2 --gpus=2 --mem=100 --time=5 --wrap=true"
)
# A quarter of a minute of training, long enough to be disturbed.
EPOCHS = 180
SEEDS = (0, 1, 2)
# Less than a training takes, and more than half of it, MB.
LITTLE_MB = 600
# A training by processes on several nodes.
SHORT = ROOT / "tests/training/short_training.py"


@pytest.fixture(scope="module")
def undisturbed(local, prepared):
    """Waits for the weights of a training without SLURM, all of which begin at once.

    That is after the copy of what they need.
    """
    said = local.folder / "trainings.log"
    arguments = dict(changes=trainings(SEEDS, EPOCHS), options=["--cores", "1"])
    with (
        said.open("w") as output,
        local.start(*targets(SEEDS), **arguments, output=output) as process,
    ):

        def weights(seed):
            assert process.wait(PATIENCE) == 0, said.read_text()
            return local.folder / targets((seed,))[0]

        yield weights
        # With its training, which a test that failed did not wait for.
        process.send_signal(signal.SIGINT)


def trainings(seeds, epochs):
    """Trainings that save once a second."""
    long = dict(epochs=epochs, decay_from=1, sample_every=epochs, checkpoint_seconds=1.0)
    return {"segmentation": {"data": ["real"], "seeds": list(seeds), **long}}


def run_of(seed):
    return f"segmentation/cgan/real/{seed}"


def targets(seeds):
    return [f"results/{run_of(seed)}/weights.safetensors" for seed in seeds]


def forget(site, seed):
    """What there is of a training."""
    shutil.rmtree(site.results / run_of(seed), ignore_errors=True)
    (site.results / "logs" / f"{run_of(seed)}.log").unlink(missing_ok=True)


def seed_of(job):
    return int(re.fullmatch(r"rule_train_segmenter_wildcards_cgan_real_(\d+)", job.comment)[1])


def in_state(cluster, state):
    return [job for job in cluster.jobs() if job.state == state]


def wait_for_checkpoint(site, job):
    checkpoint = site.results / run_of(seed_of(job)) / "checkpoint" / "checkpoint.safetensors"
    wait_until(checkpoint.exists, PATIENCE, f"a checkpoint of job {job.id}")


def training_log(site, job):
    return (site.results / "logs" / f"{run_of(seed_of(job))}.log").read_text()


def hold(job):
    """Stop a training until SLURM itself lets it go on, as it does with whatever it ends."""
    for pid in processes({job.id}):
        if b"train_segmenter.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGSTOP)


def test_slurm_makes_the_same_artifacts(site, local):
    assert_same_results(site, local)


def test_slides_of_the_demo_come_out_the_same(prepared, local):
    """Drawn, read and normalised; what follows is that of any slides."""
    target = "phantoms/stain/phantom-stomach-01/image.tif"
    changes = {
        "slides": "phantoms",
        "phantoms": {"size": 96, "train_per_organ": 1},
        # So that of the others none is needed.
        "stain": {"reference": "phantom-liver-01"},
        "results": "phantoms",
    }
    with prepared.submit(target, changes=changes) as process:
        prepared.finish(process)
    local.make(target, changes=changes)
    made = sorted((local.folder / "phantoms").rglob("*.tif"))
    # Both slides as drawn, as read, and their labels; this one with other stains.
    assert len(made) == 2 * 3 + 1
    for path in made:
        assert_same_file(prepared.folder / path.relative_to(local.folder), path)


def test_few_submissions_and_gpus_for_networks_alone(site, cluster):
    jobs = {job.id: job for job in cluster.jobs("all")}
    mine = [jobs[number] for number in site.submitted()]
    names = [re.match(r"rule_(\w+?)(?:_wildcards_.*)?$", job.comment)[1] for job in mine]
    assert all(job.gpus == (name in NETWORKS) for job, name in zip(mine, names, strict=True))
    counts = Counter(names)
    # Each slide is read on its own, so that a damaged one fails alone.
    assert counts.pop("slides_ingest_slide_profile_stain") == 5
    assert set(counts.values()) == {1}
    # Times are those of the profile, added up over a group's jobs: six slides, two shards.
    asked = {name: job.minutes for job, name in zip(mine, names, strict=True)}
    assert asked["slides_ingest_slide_profile_stain"] == 60 + 20
    assert asked["stain_normalize_slide"] == 6 * 50
    assert asked["polygons_draw_polygons"] == 2 * 10


def test_ready_jobs_are_looked_at_when_one_has_ended(site):
    """Of many that end at once, once for all of them."""
    looks, events = looks_and_ends(site.said)
    assert 10 < looks <= events + 1


def test_a_job_without_enough_memory_is_killed_and_tried_again_with_more(prepared, local, cluster):
    weights = "segmentation/cgan/both/0/weights.safetensors"
    (prepared.results / weights).unlink()
    with prepared.submit(
        f"results/{weights}",
        training={"mem_mb": f"min(attempt, 3) * {LITTLE_MB}"},
    ) as process:
        prepared.finish(process)
    killed, done = prepared.submitted()
    jobs = {job.id: job for job in cluster.jobs("all")}
    assert "exceeded memory limit" in prepared.slurm_log(killed)
    assert (jobs[killed].state, jobs[killed].memory) == ("FAILED", LITTLE_MB)
    assert (jobs[done].state, jobs[done].memory) == ("COMPLETED", 2 * LITTLE_MB)
    assert_same_file(prepared.results / weights, local.results / weights)


def test_trainings_wait_for_a_gpu_and_survive_scancel_time_limit_and_a_lost_node(
    prepared, undisturbed, cluster
):
    with prepared.submit(*targets(SEEDS), changes=trainings(SEEDS, EPOCHS)) as process:
        wait_until(lambda: len(cluster.jobs()) == 3, PATIENCE, "three jobs")
        wait_until(lambda: len(in_state(cluster, "RUNNING")) == 2, PATIENCE, "two GPUs in use")
        cancelled, orphaned = in_state(cluster, "RUNNING")
        (limited,) = in_state(cluster, "PENDING")
        wait_for_checkpoint(prepared, cancelled)
        wait_for_checkpoint(prepared, orphaned)
        # CPUs and memory are free: the third waits for a GPU alone.
        assert in_state(cluster, "PENDING") == [limited]

        ask("scancel", cancelled.id)
        cluster.lose_node(orphaned.node)
        wait_for_checkpoint(prepared, limited)
        # SLURM looks at time limits twice a minute; the training shall not end before.
        hold(limited)
        ask("scontrol", "update", f"JobId={limited.id}", "EndTime=now")
        wait_until(
            lambda: "down" in cluster.node_state(orphaned.node),
            PATIENCE,
            f"{orphaned.node} to be down",
        )
        cluster.start_node(orphaned.node)

        prepared.finish(process)
    ends = {job.id: job.state for job in cluster.jobs("all")}
    assert ends[cancelled.id] == "CANCELLED" and ends[limited.id] == "TIMEOUT"
    # SLURM itself put the job of the lost node back into the queue, under the same number.
    assert ends[orphaned.id] == "COMPLETED"
    for job in (cancelled, limited):
        stopped = re.findall(r"SIGTERM: stopped after step (\d+)", prepared.slurm_log(job.id))[0]
        assert f"resumed after step {stopped} " in training_log(prepared, job)
    assert "resumed after step" in training_log(prepared, orphaned)
    for seed in SEEDS:
        assert_same_file(prepared.folder / targets((seed,))[0], undisturbed(seed))


def test_a_training_saves_before_its_time_is_over_and_is_not_counted(
    prepared, undisturbed, cluster
):
    """By the signal that the profile asks SLURM for, two minutes before."""
    forget(prepared, 2)
    site = replace(prepared, asks=cluster.asks)
    with site.submit(
        *targets((2,)),
        changes=trainings((2,), EPOCHS),
        training={"mem_mb": "attempt * 3000", "runtime": 4},
    ) as process:
        wait_until(lambda: in_state(cluster, "RUNNING"), PATIENCE, "the training")
        (training,) = in_state(cluster, "RUNNING")
        wait_for_checkpoint(site, training)
        # Less than two minutes are left of it; SLURM looks at time limits twice a minute.
        ask("scontrol", "update", f"JobId={training.id}", "TimeLimit=2")
        # It shall not end before.
        hold(training)
        site.finish(process)
    first, second = site.submitted()
    jobs = {job.id: job for job in cluster.jobs("all")}
    # It has ended by itself, within its time.
    assert jobs[first].state == "FAILED" and jobs[second].state == "COMPLETED"
    stopped = re.findall(r"SIGTERM: stopped after step (\d+)", site.slurm_log(first))[0]
    assert f"resumed after step {stopped} " in training_log(site, training)
    assert jobs[first].memory == jobs[second].memory == 3000
    assert_same_file(site.folder / targets((2,))[0], undisturbed(2))


def test_a_training_that_says_what_is_wrong_is_submitted_once(prepared, cluster, tmp_path):
    stack = prepared.results / "patches/train/labels.tif"
    sound = shutil.copy2(stack, tmp_path)
    content = bytearray(stack.read_bytes())
    content[len(content) // 2] ^= 1
    stack.write_bytes(content)
    try:
        with prepared.submit(*targets((3,)), changes=trainings((3,), EPOCHS)) as process:
            assert process.wait(PATIENCE) != 0
    finally:
        shutil.copy2(sound, stack)
    assert len(prepared.submitted()) == 1
    log = f"results/logs/{run_of(3)}.log"
    assert f"error: {log}: results/patches/train/labels.tif: cannot be" in prepared.said
    assert f"{log}: the job is not tried again." in prepared.said


def test_preempted_trainings_go_on_when_the_urgent_job_has_ended(prepared, undisturbed, cluster):
    """Both that which SLURM puts back into the queue and that which its partition cancels."""
    seeds = (0, 1)
    for seed in seeds:
        forget(prepared, seed)
    with prepared.submit(
        *targets(seeds),
        changes=trainings(seeds, EPOCHS),
        training={"slurm_partition": "'scavenger' if wildcards.seed == '1' else 'gpu'"},
    ) as process:
        wait_until(lambda: len(in_state(cluster, "RUNNING")) == 2, PATIENCE, "two trainings")
        requeued, cancelled = sorted(in_state(cluster, "RUNNING"), key=seed_of)
        for training in (requeued, cancelled):
            wait_for_checkpoint(prepared, training)
        # It shall end because SLURM kills it, and not by itself before.
        hold(cancelled)
        ask(*URGENT.split())
        prepared.finish(process)
    assert f"SLURM preempted job {cancelled.id} and ended it" in prepared.said
    assert f"SLURM preempted job {requeued.id} and" not in prepared.said
    # SLURM puts the other one back into the queue, or, where it had already ended, Snakemake
    # submits it again.
    jobs = {job.id: job for job in cluster.jobs("all")}
    assert [number for number in prepared.submitted() if seed_of(jobs[number]) == 1] == [
        cancelled.id
    ]
    for training, seed in zip((requeued, cancelled), seeds, strict=True):
        assert "resumed after step" in training_log(prepared, training)
        assert_same_file(prepared.folder / targets((seed,))[0], undisturbed(seed))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_cancelling_snakemake_cancels_its_jobs(how, prepared, cluster):
    seeds = [10 * how + number for number in range(3)]
    with prepared.submit(*targets(seeds), changes=trainings(seeds, epochs=100_000)) as process:
        wait_until(lambda: len(cluster.jobs()) == 3, PATIENCE, "three jobs")
        wait_until(lambda: in_state(cluster, "RUNNING"), PATIENCE, "a training")
        (running, *_) = in_state(cluster, "RUNNING")
        wait_for_checkpoint(prepared, running)
        process.send_signal(how)
        assert process.wait(PATIENCE) != 0
    # At once, not only when they have come to their ends.
    wait_until(lambda: not cluster.jobs(), KILL_WAIT + 60, "all jobs to be gone")
    assert "SIGTERM: stopped after step" in prepared.slurm_log(running.id)


@pytest.mark.parametrize("what", ["stopped", "stopped at last"])
def test_two_nodes_train_together(cluster, tmp_path, what):
    # Snakemake runs a job in a step of one task. Names of nodes that share a machine are no hosts.
    step = "srun -n1 --cpu-bind=q env SLURMD_NODENAME=localhost"
    script = f"{step} {sys.executable} {SHORT} '{what}' {tmp_path}; echo $? > {tmp_path}/status"
    options = ["--nodes=2", "--ntasks-per-node=1", "--mem=3000", f"--chdir={ROOT}"]
    options += [f"--output={tmp_path}/said", f"--export=ALL,PYTHONPATH={ROOT}"]
    ask("sbatch", *options, f"--wrap={script}")
    wait_until((tmp_path / "status").exists, PATIENCE, f"the training to end ({tmp_path}/said)")
    lines = (tmp_path / "log.txt").read_text().splitlines()
    # Once before the processes are started, on each node, and once in the first.
    assert lines[:4] == ["begins"] * 4 and len(lines) == 5
    if what == "stopped":
        assert lines[4] == "SIGTERM: stopped after step 4 of 5, saved"
        assert (tmp_path / "status").read_text() == f"{128 + signal.SIGTERM}\n"
    else:
        assert (tmp_path / "status").read_text() == "0\n" and (tmp_path / "done").exists()
