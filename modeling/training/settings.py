"""What a training is made with: one frozen dataclass for each matter, and each stage's defaults.

    settings = defaults_for("multi")                 the paper's table for a stage
    settings = read_settings(path, TrainSettings)    a file (animeshooter_hf.config_file); unknown keys are refused

A value says "paper" where the paper gives it, and "our choice" where it does not.

Batches and random numbers do not depend on the number of processes: `batch_size` counts the windows of one optimizer
step over all processes, and what is random about a window (its noise, timestep and dropouts) comes from
`draws.sample_generator(seed, step, position, purpose)`, where `position` is its place in that batch. So one process
and eight train the same, and a training that goes on needs no state of these generators.

Source: AnimeShooter, arXiv 2506.03126, section 4 and appendix B.2.
"""

from dataclasses import dataclass, field, replace

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.training.data_settings import DataSettings
from animeshooter_hf.modeling.training.setting_checks import check_choice, check_number, check_whole

__all__ = [
    "CONDITIONS",
    "PARTS",
    "STAGES",
    "DataSettings",
    "DropoutSettings",
    "LossSettings",
    "OptimizerSettings",
    "PartSettings",
    "PartsSettings",
    "TrainSettings",
    "ValidationSettings",
    "defaults_for",
]

STAGES = ("align", "single", "multi", "enhance")
"""The paper's stages, in their order: condition alignment, single shot, multi shot, LoRA enhancement of one IP."""

CONDITIONS = ("mllm", "text")
"""What can tell the video model about a shot."""

PARTS = ("mllm", "adapter", "transformer", "reference_latents")
"""Components that can be trained. The adapter's query tokens belong to it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LossSettings:
    """How losses are weighted and timesteps drawn."""

    min_snr_gamma: float | None = None
    """Cap of the signal-to-noise weight, arXiv 2303.09556; None switches it off. Our choice: off, as in the paper."""

    timestep_sampling: str = "uniform"
    """How timesteps are drawn. Our choice: uniform, as CogVideoX was trained."""

    timestep_mean: float = 0.0
    """Mean of the logit, for "logit_normal". Our choice: 0, the middle; arXiv 2403.03206."""

    timestep_std: float = 1.0
    """Its standard deviation. Our choice: 1."""

    pad_weight: float = 0.1
    """Weight of a pad position against a token's 1 in align. Our choice: T5 pads fill most of the 226 positions and
    would drown the caption, but CogVideoX reads them, so they cannot be 0. The paper's plain MSE is 1."""

    context_noise: float = 0.0
    """Largest standard deviation, in units of 255, of noise on the last frames that the context reads; each frame's is
    drawn evenly from 0 to it. It makes up for the model's own frames being worse than true ones. Our choice: 0, as in
    the paper."""

    latents_noise: float = 0.0
    """The same on the latents of earlier shots' last frames, in units of a latent's own scale. References are true at
    inference too, so they get none. Our choice: 0."""

    def __post_init__(self) -> None:
        if self.min_snr_gamma is not None:
            check_number("min_snr_gamma", self.min_snr_gamma, above=0)
        check_choice("timestep_sampling", self.timestep_sampling, ("uniform", "logit_normal"))
        check_number("timestep_std", self.timestep_std, above=0)
        check_number("timestep_mean", self.timestep_mean)
        for name in ("pad_weight", "context_noise", "latents_noise"):
            check_number(name, getattr(self, name), least=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class DropoutSettings:
    """How often a window loses a condition; the first three exclude each other, so together they are at most 1."""

    reference: float = 0.0
    """References only. Paper: 0.05 in single."""

    caption: float = 0.0
    """Captions only. Paper: 0.05 in single."""

    both: float = 0.0
    """References and captions: the null condition. Paper: 0.05 in single and multi."""

    context: float = 0.0
    """The earlier shots, for each shot after the first. Our choice: 0, as in the paper."""

    def __post_init__(self) -> None:
        for name in ("reference", "caption", "both", "context"):
            check_number(name, getattr(self, name), least=0, most=1)
        if self.reference + self.caption + self.both > 1:
            raise InputError("The dropouts reference, caption and both must be at most 1 together.")


@dataclass(frozen=True, kw_only=True, slots=True)
class PartSettings:
    """How one component is trained."""

    mode: str = "frozen"
    """Not at all, all weights, or a LoRA on its linear layers."""

    rank: int = 64
    """Rank of the LoRA. Our choice; the paper does not say."""

    alpha: float | None = None
    """Scale of the LoRA, which is alpha / rank; None takes the rank. Our choice: the rank, a scale of 1."""

    targets: tuple[str, ...] = ()
    """Ends of the names of layers that get a LoRA; empty takes the component's usual ones. Our choice."""

    learning_rate_scale: float = 1.0
    """Its learning rate over the common one. Our choice: 1."""

    def __post_init__(self) -> None:
        check_choice("mode", self.mode, ("frozen", "full", "lora"))
        if not isinstance(self.rank, int) or isinstance(self.rank, bool) or self.rank < 1:
            raise InputError(f"The rank of a LoRA must be a whole number of at least 1, got {self.rank!r}.")
        if self.alpha is not None:
            check_number("alpha", self.alpha, above=0)
        check_number("learning_rate_scale", self.learning_rate_scale, above=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class PartsSettings:
    """How each component is trained."""

    mllm: PartSettings = field(default_factory=PartSettings)
    """The multimodal model. Paper: LoRA in single and multi, frozen else."""

    adapter: PartSettings = field(default_factory=PartSettings)
    """Query tokens and Q-Former. Paper: all weights in align, single and multi, frozen in enhance."""

    transformer: PartSettings = field(default_factory=PartSettings)
    """The video model. Paper: LoRA in enhance, frozen else."""

    reference_latents: PartSettings = field(default_factory=PartSettings)
    """The second path for references, if the pipeline has one. Our choice: all weights in single and multi."""

    def __post_init__(self) -> None:
        if self.reference_latents.mode == "lora":
            raise InputError("reference_latents has no layers for a LoRA; its mode is frozen or full.")
        if self.adapter.mode == "lora":
            raise InputError("A LoRA of the adapter is not supported; its mode is frozen or full.")

    def __getitem__(self, name: str) -> PartSettings:
        """Return the settings of a component."""
        if name not in PARTS:
            raise KeyError(name)
        part: PartSettings = getattr(self, name)
        return part


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerSettings:
    """How weights move."""

    name: str = "adamw"
    """AdamW; the same with 8-bit states (needs bitsandbytes and a GPU); or Muon for hidden matrices and AdamW for the
    rest. Our choice; the paper does not say."""

    learning_rate: float = 1e-4
    """At its highest. Our choice."""

    betas: tuple[float, ...] = (0.9, 0.95)
    """Of AdamW. Our choice, as CogVideoX's own trainer."""

    weight_decay: float = 1e-2
    """Of matrices; vectors and embeddings are not decayed. Our choice."""

    warmup_steps: int = 100
    """Steps in which the learning rate grows from 0. Our choice."""

    schedule: str = "constant"
    """How the learning rate goes on after that; the latter two end at 0. Our choice."""

    max_grad_norm: float | None = 1.0
    """Largest norm of all gradients together; None for no limit. Our choice."""

    ema_decay: float | None = None
    """Decay of a moving average of the trained weights, which is then what is saved; None for none. Our choice."""

    def __post_init__(self) -> None:
        check_choice("optimizer.name", self.name, ("adamw", "adamw8bit", "muon"))
        check_number("learning_rate", self.learning_rate, above=0)
        check_choice("schedule", self.schedule, ("constant", "cosine", "linear"))
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise InputError(f"betas must be two numbers from 0 to below 1, got {list(self.betas)}.")
        check_number("weight_decay", self.weight_decay, least=0)
        check_whole("warmup_steps", self.warmup_steps, 0)
        if self.max_grad_norm is not None:
            check_number("max_grad_norm", self.max_grad_norm, above=0)
        if self.ema_decay is not None:
            check_number("ema_decay", self.ema_decay, above=0, most=0.999999)


@dataclass(frozen=True, kw_only=True, slots=True)
class ValidationSettings:
    """Stories that are generated on the way."""

    stories: int = 2
    """How many, the first of the dataset's; 0 for none. Our choice."""

    split: str | None = None
    """Split they are taken from; None takes that of the training. Our choice."""

    shots: int = 4
    """Most shots of each. Paper: its test stories have 4."""

    steps: int | None = None
    """Denoising steps; None as the pipeline generates. Our choice."""

    seed: int = 0
    """Of their noise, the same every time, so that pictures can be compared. Our choice."""

    def __post_init__(self) -> None:
        check_whole("validation.stories", self.stories, 0)
        check_whole("validation.shots", self.shots, 1)
        if self.steps is not None:
            check_whole("validation.steps", self.steps, 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainSettings:
    """A whole training."""

    stage: str
    """Which of the paper's stages."""

    pipeline: str = ""
    """Folder or Hub repository of the pipeline to start from."""

    out: str = ""
    """Folder to write to."""

    data: DataSettings = field(default_factory=DataSettings)
    """What is trained on."""

    condition: str = "mllm"
    """What tells the video model about a shot: "mllm" (the MLLM and the adapter), or "text", the text encoder's own
    states of the caption, as plain text-to-video models are trained. Then nothing is read by the MLLM; pictures are
    still seen as latents where the pipeline has the path for them. Paper: mllm; text is its baseline, a LoRA of plain
    CogVideoX."""

    loss: LossSettings = field(default_factory=LossSettings)
    """How losses are weighted."""

    dropout: DropoutSettings = field(default_factory=DropoutSettings)
    """How often conditions are left out."""

    parts: PartsSettings = field(default_factory=PartsSettings)
    """Which components are trained."""

    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    """How weights move."""

    batch_size: int = 8
    """Windows of one optimizer step, over all processes. Paper: 32, 24, 8, 2 in the four stages."""

    accumulation: int = 1
    """Forward passes into which each process cuts its share of the batch. Our choice: 1."""

    steps: int = 8_000
    """Optimizer steps. Paper: 1.8M, 17K, 8K, 1K to 2K in the four stages."""

    seed: int = 0
    """Of all that is random. Our choice."""

    precision: str = "fp32"
    """Numbers of the forward pass; trained weights stay in fp32, frozen ones are kept in this type. Our choice: fp32 by
    default, as a CPU needs it; bf16 on a GPU."""

    gradient_checkpointing: bool = False
    """Compute activations twice instead of keeping them. Our choice."""

    save_every: int = 500
    """Steps between two saves of the whole state. Our choice."""

    keep: int = 2
    """Saved states that are kept, the latest. Our choice."""

    validate_every: int = 0
    """Steps between two validations; 0 for none. Our choice: 250 in enhance, whose card shows the last, none else."""

    validation: ValidationSettings = field(default_factory=ValidationSettings)
    """What is generated then."""

    trackers: tuple[str, ...] = ("auto",)
    """Trackers of accelerate, by name, such as tensorboard or wandb; "auto" is TensorBoard if it is installed. The file
    log.jsonl is always written. Our choice."""

    log_every: int = 1
    """Steps between two lines of the log. Our choice."""

    max_bad_steps: int = 0
    """Steps in a row without a finite loss that are left out before the training stops. Our choice: 0, stop at once."""

    cache: str | None = None
    """Folder of latents, text states and vision features; None takes one in `out`. Our choice."""

    is_cached: bool = True
    """Whether frozen encoders run once for each picture, clip and text, instead of every time. Our choice."""

    workers: int = 0
    """Processes that read windows; 0 reads in the main one. Our choice."""

    character: str | None = None
    """Whom a LoRA knows, by the story's name, for its card."""

    licence: str | None = None
    """Identifier on the Hub of the licence of what is trained, such as "apache-2.0", for its card."""

    def __post_init__(self) -> None:
        check_choice("stage", self.stage, STAGES)
        for name in ("batch_size", "accumulation", "steps", "save_every", "keep", "log_every"):
            check_whole(name, getattr(self, name), 1)
        for name in ("seed", "validate_every", "workers", "max_bad_steps"):
            check_whole(name, getattr(self, name), 0)
        check_choice("precision", self.precision, ("fp32", "bf16"))
        check_choice("condition", self.condition, CONDITIONS)
        if self.condition == "text":
            trained = [name for name in ("mllm", "adapter") if self.parts[name].mode != "frozen"]
            if self.stage == "align":
                raise InputError("The stage align teaches the MLLM's side: its condition must be mllm.")
            if self.validate_every:
                raise InputError("Stories are generated through the MLLM, so they would not show what the condition "
                                 "text has taught: set validate_every to 0.")  # fmt: skip
            if trained:
                raise InputError(f"With the condition text nothing is read by the MLLM: set the mode of "
                                 f"{' and '.join(trained)} to frozen.")  # fmt: skip
        if self.batch_size % self.accumulation:
            raise InputError(f"batch_size {self.batch_size} cannot be cut into {self.accumulation} equal parts.")
        if self.stage in ("align", "single") and self.data.window != 1:
            raise InputError(f"The stage {self.stage} trains on single shots: data.window must be 1.")


def defaults_for(stage: str) -> TrainSettings:
    """Return what the paper trains a stage with (appendix B.2), and our choices where it does not say.

    Raises:
        InputError: If there is no such stage.
    """
    check_choice("stage", stage, STAGES)
    defaults: TrainSettings = _DEFAULTS[stage]
    return defaults


_FROZEN = PartSettings()
_FULL = PartSettings(mode="full")
_LORA = PartSettings(mode="lora")
_SHOTS = PartsSettings(mllm=_LORA, adapter=_FULL, reference_latents=_FULL)

_MULTI = TrainSettings(
    stage="multi",
    parts=_SHOTS,
    dropout=DropoutSettings(both=0.05),
    optimizer=OptimizerSettings(learning_rate=5e-5),
    batch_size=8,
    steps=8_000,
)
_SINGLE = replace(
    _MULTI,
    stage="single",
    data=DataSettings(window=1),
    dropout=DropoutSettings(reference=0.05, caption=0.05, both=0.05),
    optimizer=OptimizerSettings(learning_rate=1e-4),
    batch_size=24,
    steps=17_000,
)
_ALIGN = replace(
    _SINGLE,
    stage="align",
    parts=PartsSettings(adapter=_FULL),
    dropout=DropoutSettings(),
    data=DataSettings(window=1, require_references=False),
    batch_size=32,
    steps=1_800_000,
    save_every=5_000,
)
_ENHANCE = replace(
    _MULTI,
    stage="enhance",
    data=DataSettings(window=3, arrangement="drawn", max_clips=6),
    parts=PartsSettings(transformer=_LORA),
    dropout=DropoutSettings(),
    optimizer=OptimizerSettings(learning_rate=1e-4),
    batch_size=2,
    steps=1_000,
    save_every=250,
    validate_every=250,
)
_DEFAULTS = {"align": _ALIGN, "single": _SINGLE, "multi": _MULTI, "enhance": _ENHANCE}
