"""The training loop: data in step order, checkpoints by the clock, a loss curve, and a resume that changes nothing."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch
from torch import distributed, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from ixc.errors import CheckpointError
from ixc.training.attention import fast_attention
from ixc.training.checkpoints import load_checkpoint, save_checkpoint
from ixc.training.optim import Optimizers, accumulate, average_gradients, warmup_stable_decay
from ixc.training.stages import Batch, Kit, Stage, num_cores, num_processes, process_rank

BATCHES_AHEAD = 4
"""That the worker processes make together while the model trains; one each where there are more of them. They lie in shared
memory, of which a container has 64 MiB as a rule: the largest that the shipped configurations ask for are of 12 MiB."""
_BEGUN_WITH = "results it began with"

logger = logging.getLogger(__name__)


class _Steps(Dataset):
    """Batch number ``step`` of a stage; the loader's worker processes make them ahead."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def __len__(self) -> int:
        return self._stage.config.num_steps

    def __getitem__(self, step: int) -> Batch:
        return self._stage.make_batch(step)


@dataclass(frozen=True, slots=True)
class _Training:
    """Everything that changes while a stage trains."""

    model: nn.Module
    extra: nn.Module
    optimizers: Optimizers
    run: dict[str, str]
    """Which run this is, see ``describe_run``."""
    mean: AveragedModel | None = None
    """Of the model's weights over the steps."""

    def save(self, folder: Path, step: int, curve: list[dict]) -> None:
        state = {each: getattr(self, each).state_dict() for each in ("model", "extra", "optimizers")}
        if self.mean is not None:
            state["mean"] = self.mean.module.state_dict()
        save_checkpoint(folder, step, {**state, "curve": curve, "run": self.run, "num_processes": num_processes()})
        (folder / "curve.json").write_text(json.dumps(curve, indent=0), encoding="utf-8")

    def resume(self, folder: Path) -> tuple[int, list[dict]]:
        """The step to go on with, and the loss curve up to it. Raises CheckpointError when another run left the checkpoint."""
        state = load_checkpoint(folder)
        if state is None:
            return 0, []
        _check_run(self.run, {_BEGUN_WITH: self.run[_BEGUN_WITH]} | state.get("run", {}), folder)  # earlier ones do not say
        num_before = state.get("num_processes", num_processes())
        if num_before != num_processes() and process_rank() == 0:
            logger.warning(
                "%s goes on with %d instead of %d processes: from here on it sees other documents than it would have",
                *(folder, num_processes(), num_before),
            )
        for each in ("model", "extra", "optimizers"):
            getattr(self, each).load_state_dict(state[each])
        if self.mean is not None:  # which starts with the model where the checkpoint has none
            self.mean.module.load_state_dict(state.get("mean", state["model"]))
            self.mean.n_averaged.fill_(state["step"])
        logger.info("resuming at step %d", state["step"])
        return state["step"], state["curve"]

    def finish(self) -> None:
        """Give the model the weights that are the result."""
        if self.mean is not None:
            self.model.load_state_dict(self.mean.module.state_dict())


def train_stage(
    stage: Stage,
    kit: Kit,
    folder: Path,
    *,
    begun_with: Mapping[str, str] = MappingProxyType({}),
    num_workers: int | None = None,
    stop_at: int | None = None,
) -> list[dict]:
    """Train ``stage`` to its end, or up to step ``stop_at``, resuming from ``folder`` if it holds a checkpoint.

    Several processes of one ``torch.distributed`` group train together: each on documents of its own, with averaged gradients.
    ``begun_with``: digests of the results of earlier stages that the model now holds, by the stages' names. ``num_workers``
    instead of the configuration's. Returns the loss curve; when it returns, the checkpoint is there for all of the processes.
    The model in ``kit`` holds the result.

    Raises TrainingDiverged when the loss or its gradients are not finite, CheckpointError when ``folder`` belongs to another
    run or began with other results.
    """
    config, model = stage.config, kit.model
    device = next(model.parameters()).device
    stage.extra.to(device)
    named = [*model.named_parameters(), *((f"extra.{name}", each) for name, each in stage.extra.named_parameters())]
    optimizers = Optimizers(named, stage.learning_rate_scale, muon_lr=config.muon_lr, adamw_lr=config.adamw_lr)
    mean = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(config.mean_decay)) if config.mean_decay else None
    run = describe_run(kit, stage, [name for name, _ in named], begun_with)
    training = _Training(model, stage.extra, optimizers, run, mean)
    first, curve = training.resume(folder)
    last = min(config.num_steps, stop_at or config.num_steps)
    torch.set_num_threads(config.num_threads or num_cores())
    loader = _loader(stage, range(first, last), _num_workers(kit, device) if num_workers is None else num_workers)
    model.train()
    recent: dict[str, list[float]] = {}
    saved = time.monotonic()
    started = saved - (curve[-1]["elapsed_s"] if curve else 0.0)  # what a killed run did after its last entry is not counted
    progress = tqdm(loader, initial=first, total=config.num_steps, desc=stage.name, mininterval=10)
    with fast_attention(model):
        for step, batch in enumerate(progress, start=first):
            batch = {name: value.to(device) if torch.is_tensor(value) else value for name, value in batch.items()}
            loss, metrics = stage.loss(batch)
            metrics["loss"] = accumulate(loss)
            average_gradients(optimizers.parameters)
            metrics["gradient_norm"] = optimizers.step(warmup_stable_decay(step, config.num_steps, config.num_warmup))
            if mean is not None:
                mean.update_parameters(model)
            for name, value in metrics.items():
                recent.setdefault(name, []).append(value)
            if (step + 1) % kit.config.log_every_steps == 0 or step + 1 == last:
                means = {name: round(sum(values) / len(values), 4) for name, values in recent.items()}
                curve.append({"step": step + 1, "elapsed_s": round(time.monotonic() - started, 1), **means})
                progress.set_postfix(means)
                logger.info("%s %s", stage.name, json.dumps(curve[-1]))
                recent.clear()
            is_due = time.monotonic() - saved > kit.config.checkpoint_every_s or step + 1 == last
            if is_due and process_rank() == 0:
                training.save(folder, step + 1, curve)
                saved = time.monotonic()
    training.finish()
    if distributed.is_initialized():  # the next stage begins with this checkpoint, in every process
        distributed.barrier()
    return curve


def describe_run(kit: Kit, stage: Stage, names: Sequence[str], begun_with: Mapping[str, str]) -> dict[str, str]:
    """What may not change between the checkpoints of a stage, in words and as text; rates, lengths and documents may."""
    config = kit.config
    trained = [name for name in names if stage.learning_rate_scale(name) > 0]
    return {
        "stage": stage.name,
        "seed": str(config.seed),
        "number of slots": str(config.num_slots),
        "model": json.dumps(config.model, sort_keys=True),
        "start_from": _digest(config.start_from),
        "eyes_from": _digest(getattr(config, "eyes_from", "")),
        "without": getattr(stage.config, "without", ""),
        "trained weights": hashlib.sha256("\n".join(trained).encode()).hexdigest(),
        _BEGUN_WITH: json.dumps(dict(begun_with), sort_keys=True),
    }


def _check_run(run: Mapping[str, str], saved: Mapping[str, str], folder: Path) -> None:
    """Raises CheckpointError when another run left what is in ``folder``, or this one, and what it began with has changed."""
    differing = [name for name, value in run.items() if saved.get(name) != value]
    if differing == [_BEGUN_WITH]:
        now, then = json.loads(run[_BEGUN_WITH]), json.loads(saved[_BEGUN_WITH])
        changed = [name for name in sorted(now.keys() | then.keys()) if now.get(name) != then.get(name)]
        raise CheckpointError(
            f"{folder} began with a result of the {' and '.join(changed)} stage that has changed since; remove that folder to "
            "train its stage again from there, or give another --out."
        )
    if differing:
        raise CheckpointError(
            f"{folder} holds checkpoints of another run, whose {', '.join(differing)} differ; give another --out."
        )


def _num_workers(kit: Kit, device: torch.device) -> int:
    """As the configuration says; otherwise one on a CPU, which trains meanwhile, and all cores but one beside a GPU."""
    if kit.config.num_workers is not None:
        return kit.config.num_workers
    return 1 if device.type == "cpu" else max(1, num_cores() - 1)


def _loader(stage: Stage, steps: range, num_workers: int) -> DataLoader:
    """Batches in step order, however many processes make them."""
    ahead = max(1, BATCHES_AHEAD // num_workers) if num_workers else None
    return DataLoader(
        _Steps(stage),
        batch_size=None,
        sampler=steps,
        num_workers=num_workers,
        prefetch_factor=ahead,
        worker_init_fn=_take_one_core,
    )


def _take_one_core(_: int) -> None:
    torch.set_num_threads(1)


def _digest(folder: str) -> str:
    """Of the weights in a checkpoint folder; of no folder nothing."""
    return hashlib.sha256((Path(folder) / "model.safetensors").read_bytes()).hexdigest() if folder else ""
