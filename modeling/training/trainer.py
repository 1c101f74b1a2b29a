"""The loop of a training, for all four stages.

    source -> windows of a step -> ShotModel -> loss -> gradients -> optimizer -> average, log, pictures, state

Everything random follows from the seed, the step and the place in the batch (draws.py, batch_order.py), so a training
that goes on at any step computes what an unbroken one computes, bit by bit on the same machine with as many processes.
Another number of processes sees the same windows, noise and dropouts, and differs by rounding.

One process or several, with gradients averaged (DDP), or with weights divided (FSDP, DeepSpeed): `accelerate launch`
decides. What only whole weights allow (the moving average, Muon, pictures on the way) is left out or refused with
divided ones.
"""

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader
from tqdm import tqdm

from animeshooter_hf.config_file import settings_to_json
from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.training.batch_order import BatchOrder, PartSampler
from animeshooter_hf.modeling.training.batches import BatchMaker
from animeshooter_hf.modeling.training.condition_dropout import OwnSamples
from animeshooter_hf.modeling.training.draws import draw_seed
from animeshooter_hf.modeling.training.losses import loss_by_time
from animeshooter_hf.modeling.training.open_training import (
    cached,
    check_parts,
    encoders_on,
    open_begin,
    open_windows,
    validation_stories,
)
from animeshooter_hf.modeling.training.optimizers import (
    WeightAverage,
    check_optimizer,
    learning_rate_factor,
    make_optimizers,
    set_learning_rates,
)
from animeshooter_hf.modeling.training.parameters import prepare_parts
from animeshooter_hf.modeling.training.processes import (
    StopSignal,
    allow_unused_weights,
    ignore_interrupts,
    is_sharded,
    make_accelerator,
    on_main,
    seed_libraries,
    tell_part_size,
)
from animeshooter_hf.modeling.training.run_folder import begin_or_go_on, holding
from animeshooter_hf.modeling.training.saving import facts_of, is_lora_alone, save_result
from animeshooter_hf.modeling.training.settings import TrainSettings
from animeshooter_hf.modeling.training.shot_model import ShotModel, use_fast_training_attention
from animeshooter_hf.modeling.training.text_scale import measure_text_scale
from animeshooter_hf.modeling.training.train_log import TrainLog, draw_curve, read_log
from animeshooter_hf.modeling.training.train_state import (
    latest_state,
    load_common,
    load_random_states,
    random_states,
    save_state,
    set_random_states,
)
from animeshooter_hf.modeling.training.validation import ValidationStory, generate_sheets

__all__ = ["Trainer", "train"]

logger = logging.getLogger(__name__)

OnValidation = Callable[[Any, int, Sequence[ValidationStory]], Mapping[str, float] | None]
"""(pipeline, steps that are done, stories) -> scores for log, trackers and card, if there are any."""

OnStep = Callable[[int, Mapping[str, Any]], None]
"""(steps that are done, what the log says of the last one)."""


def train(
    settings: TrainSettings,
    *,
    source: Any = None,
    pipeline: Any = None,
    stories: Sequence[ValidationStory] | None = None,
    own_samples: OwnSamples | None = None,
    fresh: bool = False,
    command: str = "",
    on_step: OnStep | None = None,
    on_validation: OnValidation | None = None,
) -> Path:
    """Train, or go on with a training, and return the folder of what was trained: a pipeline or a LoRA.

    Args:
        settings: Of the training.
        source: Windows, any object with the protocol of `windows.WindowSource`; None takes the dataset of the settings.
        pipeline: What to begin with, as it was when the training began; None loads that of the settings. It is changed.
        stories: Stories to generate on the way; None takes the first of the data.
        own_samples: Gives last frames that the model made itself, against exposure bias; see `condition_dropout.py`.
        fresh: Forget a training that is in the folder, except its cache.
        command: Shown in the card.
        on_step: Called after each step, on the main process.
        on_validation: Called after the pictures of a validation, on the main process; what it returns is logged.

    Raises:
        InputError: If something does not fit, the loss is no number, or the disk is full; what was saved stays whole.
        KeyboardInterrupt: If it is asked to stop (Ctrl-C, SIGTERM), after the state was saved.
    """
    if not settings.out:
        raise InputError("Name the folder to write to.")
    check_optimizer(settings.optimizer)
    accelerator = make_accelerator(settings)
    with ExitStack() as held:
        on_main(accelerator, lambda: held.enter_context(holding(Path(settings.out))) and None)
        pipeline = open_begin(settings) if pipeline is None else pipeline
        check_parts(pipeline, settings)
        source = open_windows(settings, pipeline.decoder) if source is None else source
        trainer = Trainer(settings, accelerator, pipeline, source, stories, own_samples, fresh=fresh)
        return trainer.run(on_step=on_step, on_validation=on_validation, command=command)


class Trainer:
    """One training: what is trained, how far it is, and the loop."""

    def __init__(
        self,
        settings: TrainSettings,
        accelerator: Accelerator,
        pipeline: Any,
        source: Any,
        stories: Sequence[ValidationStory] | None = None,
        own_samples: OwnSamples | None = None,
        *,
        fresh: bool = False,
    ) -> None:
        """Make everything ready, and go on where a training in the folder was. For the arguments see `train`."""
        self.settings, self.accelerator, self.pipeline = settings, accelerator, pipeline
        self.out = Path(settings.out)
        self.began_with: str = pipeline.config.weights_origin
        self.num_windows = len(source)
        # 1. The order of the windows, and the folder: begun, or gone on with.
        order = BatchOrder.of(source, batch_size=settings.batch_size, seed=settings.seed)
        self._part_sampler(order)
        facts = {"pipeline_mark": pipeline.fingerprint(), "num_windows": len(source)}
        goes_on = on_main(accelerator, lambda: begin_or_go_on(self.out, settings, facts, fresh=fresh))
        # 2. What frozen encoders give for them, made once; it may leave out windows that cannot be read.
        if accelerator.is_main_process:
            for reason, number in getattr(source, "skipped", {}).items():
                logger.warning("%d windows are left out because %s.", number, reason)
        self.stories = list(stories) if stories is not None else self._find_stories(source)
        self.source = source
        if settings.is_cached:
            with encoders_on(pipeline, accelerator.device):
                self.source = cached(source, pipeline, settings, progress=accelerator.is_main_process)
        else:
            encoders_on(pipeline, accelerator.device).__enter__()  # for the whole training
        self.order = BatchOrder.of(self.source, batch_size=settings.batch_size, seed=settings.seed)
        self.batches = BatchMaker(pipeline, settings, own_samples=own_samples)
        self.layout = replace(
            pipeline.layout, caption=settings.data.layout.caption, keep_queries=settings.data.keep_queries
        )
        if settings.condition == "text" and not pipeline.adapter.null_embeds.any():
            pipeline.store_null_embeds()
        if settings.stage == "align":
            measure_text_scale(pipeline, self.source, pad_weight=settings.loss.pad_weight)
        # 3. What is trained. A LoRA begins with random numbers, the same on every process.
        seed_libraries(draw_seed(settings.seed, 0, 0, "weights"))
        named = prepare_parts(pipeline, settings.parts)
        self.weights = dict(named)
        optimizers = make_optimizers(named, settings.optimizer, settings.parts)
        use_fast_training_attention(pipeline, accelerator.device)
        model = ShotModel(
            pipeline,
            stage=settings.stage,
            condition=settings.condition,
            gradient_checkpointing=settings.gradient_checkpointing,
        )
        allow_unused_weights(accelerator, pipeline, settings)
        tell_part_size(accelerator, self._part_sampler(self.order).part_size)
        self.model, *self.optimizers = accelerator.prepare(model, *optimizers)
        decay = settings.optimizer.ema_decay
        self.average = None if decay is None else WeightAverage(named, decay)
        # 4. Where it was.
        self.step = self.bad_steps = 0
        self.scores: dict[str, float] = {}
        self.sheets: dict[str, Path] = {}
        if goes_on:
            self._go_on()
        self.began_at = self.step
        self.log = TrainLog(self.out, accelerator, begins_at=self.step, config=settings_to_json(settings))

    def run(
        self, *, on_step: OnStep | None = None, on_validation: OnValidation | None = None, command: str = ""
    ) -> Path:
        """Train to the last step and return the folder of what was trained. For arguments and errors see `train`."""
        settings = self.settings
        turns = iter(self._loader())
        bar = tqdm(desc=settings.stage, initial=self.step, total=settings.steps, unit=" steps", disable=self._bar)
        with StopSignal() as stop, bar:
            while self.step < settings.steps:
                # 1. Gradients of the windows of the step, in as many passes as it is cut into.
                began = time.perf_counter()
                values = self._gradients(turns)
                # 2. The weights move, unless the loss is no number.
                self._limit(values)
                self._move(values)
                # 3. What is told, shown and kept.
                values["seconds"] = time.perf_counter() - began
                if self.step % settings.log_every == 0 or self.step == settings.steps:
                    self.log.write(self.step, values)
                bar.set_postfix(loss=f"{values['loss']:.4f}", refresh=False)
                bar.update()
                if on_step is not None and self.accelerator.is_main_process:
                    on_step(self.step, values)
                is_stopped = self._is_asked(stop)
                if settings.validate_every and self.step % settings.validate_every == 0:
                    self._validate(on_validation)
                if is_stopped or self.step % settings.save_every == 0 or self.step == settings.steps:
                    self._save()
                if is_stopped and self.step < settings.steps:
                    self.log.close()
                    raise KeyboardInterrupt
        return self._finish(on_validation, command)

    @property
    def _bar(self) -> bool | None:
        """Whether there is no bar: tqdm shows one on a terminal only."""
        return None if self.accelerator.is_main_process else True

    # ------------------------------------------------------------------------------------------------ a step

    def _gradients(self, turns: Any) -> dict[str, Any]:
        """Compute the gradients of a step and return its loss and learning rate."""
        settings, accelerator = self.settings, self.accelerator
        factor = learning_rate_factor(self.step, settings.optimizer, settings.steps)
        set_learning_rates(self.optimizers, factor)
        totals: dict[str, torch.Tensor] = {}
        losses, shares = [], []
        for turn in range(settings.accumulation):
            windows = _next(turns)
            places = self._part_sampler(self.order).places(turn)
            seed_libraries(draw_seed(settings.seed, self.step, places[0], "modules"))
            batch = self.batches(windows, step=self.step, positions=places)
            with accelerator.accumulate(self.model):
                found = self.model(batch, settings.loss)
                accelerator.backward(found.loss)
            losses.append(found.losses_N.detach().float().cpu())
            shares.append(found.shares_N.cpu())
            for name, value in {"loss": found.loss, **found.parts}.items():
                part = value.detach().float() / settings.accumulation
                totals[name] = totals[name] + part if name in totals else part
        means = accelerator.reduce(torch.stack([totals[name] for name in totals]), reduction="mean")
        rate = settings.optimizer.learning_rate * factor
        epoch = (self.step + 1) / self.order.steps_per_epoch
        values = {**dict(zip(totals, means.tolist(), strict=True)), "learning_rate": rate, "epoch": epoch}
        if settings.stage != "align":
            # Of this process's shots: a loss moves with its time far more than with training.
            values |= loss_by_time(torch.cat(losses), torch.cat(shares))
        if accelerator.device.type == "cuda":
            values["peak_gb"] = torch.cuda.max_memory_allocated(accelerator.device) / 1e9
        return values

    def _limit(self, values: dict[str, Any]) -> None:
        """Limit the gradients and write their norm down."""
        limit = self.settings.optimizer.max_grad_norm
        if not is_sharded(self.accelerator):
            # A weight that no window of the step used moves with the others, whatever process had that window.
            for weight in self.weights.values():
                weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), math.inf if limit is None else limit)
        values["grad_norm"] = 0.0 if norm is None else float(norm)

    def _is_asked(self, stop: StopSignal) -> bool:
        """Return whether any process was asked to stop."""
        asked = torch.tensor(float(stop.is_set), device=self.accelerator.device)
        return bool(self.accelerator.reduce(asked, reduction="sum") > 0)

    def _move(self, values: dict[str, Any]) -> None:
        """Take the optimizers' step; or leave the step out, or stop, where loss or gradients are no numbers."""
        is_good = math.isfinite(values["loss"]) and math.isfinite(values["grad_norm"])
        if not is_good and self.bad_steps >= self.settings.max_bad_steps:
            self._save()
            number = values["loss"] if not math.isfinite(values["loss"]) else f"{values['loss']:g}"
            raise InputError(
                f"Step {self.step + 1} gave a loss of {number} and gradients of norm {values['grad_norm']:g}; the "
                f"state of step {self.step} is kept in {self.out / 'state'}. Begin anew with a lower learning_rate or "
                "max_grad_norm, or let max_bad_steps leave such steps out."
            )
        self.bad_steps = 0 if is_good else self.bad_steps + 1
        for optimizer in self.optimizers:
            if is_good:
                optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if is_good and self.average is not None:
            self.average.update(self.step)
        if not is_good:
            logger.warning("Step %d gave no finite loss and was left out.", self.step + 1)
        self.step += 1

    # ------------------------------------------------------------------------------------------------ on the way

    def _validate(self, on_validation: OnValidation | None) -> None:
        """Generate the stories with the weights as they would be saved."""
        if is_sharded(self.accelerator):
            return
        kept, was_training = random_states(), self.model.training
        self.model.eval()
        if self.accelerator.is_main_process and (self.stories or on_validation is not None):
            average = nullcontext() if self.average is None else self.average.in_place()
            with average, self._encoders():
                folder = self.out / "validation" / f"step_{self.step}"
                data, wanted = self.settings.data, self.settings.validation
                self.sheets = generate_sheets(self.pipeline, self.stories, data, wanted, folder)
                if on_validation is not None:
                    self.scores = dict(on_validation(self.pipeline, self.step, self.stories) or {})
            if self.scores:
                self.log.write(self.step, {f"validation/{name}": value for name, value in self.scores.items()})
            self.log.show_pictures(self.step, self.sheets)
        self.model.train(was_training)
        set_random_states(kept)
        self.accelerator.wait_for_everyone()

    def _save(self) -> None:
        accelerator = self.accelerator
        save_state(
            self.out / "state",
            self.step,
            weights=self.weights,
            optimizers=[_plain(optimizer) for optimizer in self.optimizers],
            average=None if self.average is None else self.average.state_dict(),
            facts={"bad_steps": self.bad_steps, "processes": accelerator.num_processes},
            keep=self.settings.keep,
            is_main=accelerator.is_main_process,
            rank=accelerator.process_index,
            wait=accelerator.wait_for_everyone,
            write_sharded=(lambda folder: accelerator.save_state(str(folder))) if is_sharded(accelerator) else None,
        )

    def _go_on(self) -> None:
        """Take up the latest state that is whole, if there is one."""
        accelerator = self.accelerator
        step = on_main(accelerator, lambda: getattr(latest_state(self.out / "state"), "step", None))
        state = None if step is None else latest_state(self.out / "state")
        if state is None:
            return
        if is_sharded(accelerator):
            accelerator.load_state(str(state.folder / "sharded"))
        else:
            average = load_common(state, self.weights, [_plain(optimizer) for optimizer in self.optimizers])
            if self.average is not None and average is not None:
                self.average.load_state_dict(average)
        load_random_states(state, accelerator.process_index)
        self.step, self.bad_steps = state.step, int(state.facts.get("bad_steps", 0))
        logger.info("Going on after step %d.", self.step)

    # ------------------------------------------------------------------------------------------------ the end

    def _finish(self, on_validation: OnValidation | None, command: str) -> Path:
        """Write what was trained, its card and the curve, and return where it is."""
        settings, accelerator = self.settings, self.accelerator
        folder = self.out / ("lora" if is_lora_alone(settings) else "pipeline")
        if self.began_at == self.step and folder.is_dir():
            self.log.close()
            return folder
        is_shown = (self.out / "validation" / f"step_{self.step}").is_dir()
        if settings.validate_every and not is_shown:
            self._validate(on_validation)
        pipeline = self._whole_pipeline()
        if accelerator.is_main_process:
            losses = [line["loss"] for line in read_log(self.out) if line.get("loss") is not None]
            facts = facts_of(
                settings,
                step=self.step,
                num_windows=self.num_windows,
                began_with=self.began_with,
                last_loss=sum(losses[-_LAST:]) / len(losses[-_LAST:]) if losses else None,
                scores=self.scores or _scores_of(read_log(self.out), self.step),
                command=command,
            )
            average = nullcontext() if self.average is None else self.average.in_place()
            samples = sorted((self.out / "validation" / f"step_{self.step}").glob("*.png"))
            with average:
                save_result(pipeline, settings, self.out, facts, samples=samples, layout=self.layout)
            draw_curve(self.out)
        self.log.close()
        accelerator.wait_for_everyone()
        return folder

    def _whole_pipeline(self) -> Any:
        """Return the pipeline with the trained weights; divided ones are gathered into a fresh one."""
        if not is_sharded(self.accelerator):
            return self.pipeline
        gathered = self.accelerator.get_state_dict(self.model)
        if not self.accelerator.is_main_process:
            return None
        pipeline = open_begin(self.settings)
        with torch.no_grad():
            for name, weight in prepare_parts(pipeline, self.settings.parts):
                weight.copy_(gathered[name.replace("transformer.second.", "transformer_2.")])
        return pipeline

    # ------------------------------------------------------------------------------------------------ inner steps

    def _encoders(self) -> AbstractContextManager[None]:
        """Have the VAE beside the other parts, where it is not there all the time."""
        if not self.settings.is_cached:
            return nullcontext()
        return encoders_on(self.pipeline, self.accelerator.device, ("vae",))

    def _find_stories(self, source: Any) -> list[ValidationStory]:
        wants = self.settings.validate_every and self.accelerator.is_main_process
        return validation_stories(source, self.settings, self.settings.data) if wants else []

    def _part_sampler(self, order: BatchOrder) -> PartSampler:
        """Return what this process reads. Raises an InputError if the batch cannot be cut into equal parts."""
        return PartSampler(
            order=order,
            begins_at=getattr(self, "step", 0),
            steps=self.settings.steps,
            accumulation=self.settings.accumulation,
            rank=self.accelerator.process_index,
            world_size=self.accelerator.num_processes,
        )

    def _loader(self) -> DataLoader[Any]:
        return DataLoader(
            self.source,
            batch_sampler=self._part_sampler(self.order),
            collate_fn=list,
            num_workers=self.settings.workers,
            worker_init_fn=ignore_interrupts,
            generator=torch.Generator().manual_seed(self.settings.seed),
        )


_LAST = 50
"""Steps whose mean loss a card tells. Our choice."""


def _next(turns: Any) -> list[Any]:
    """Return the windows of the next forward pass; an error of a worker loses the traceback that torch wraps it in."""
    try:
        windows: list[Any] = next(turns)
    except InputError as error:
        raise InputError(str(error).strip().splitlines()[-1].removeprefix(f"{InputError.__module__}.InputError: ")) \
            from error  # fmt: skip
    return windows


def _plain(optimizer: Any) -> torch.optim.Optimizer:
    """Return the optimizer that accelerate has wrapped."""
    inner: torch.optim.Optimizer = getattr(optimizer, "optimizer", optimizer)
    return inner


def _scores_of(lines: Sequence[Mapping[str, Any]], step: int) -> dict[str, float]:
    """Return the scores that the log holds for a step."""
    before = "validation/"
    told = [line for line in lines if line.get("step") == step]
    return {key.removeprefix(before): line[key] for line in told for key in line if key.startswith(before)}
