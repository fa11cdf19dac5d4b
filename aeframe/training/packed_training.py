"""`RunPack`: several runs in one process whose training steps are computed together.

Each run is an ordinary one, with its own Trainer, callbacks and run folder, in a thread of its own. One thread runs at
a time: a run pauses where it would train on its batches, and the next one continues. When all of them have paused, the
batches of runs of one structure are trained on in one vectorized step (`PackedStep`).
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from lightning.pytorch.utilities.model_helpers import is_overridden
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor

from aeframe.interruption import Interrupted, SignalGuard
from aeframe.training.averaging import WeightAverage
from aeframe.training.batch_lists import end_batch_of_several, train_on_batches
from aeframe.training.lightning_progress import is_forward_only, set_batch_size
from aeframe.training.packed_numbers import DifferingNumbers, UnpackableBatchError, UnpackableError
from aeframe.training.packing import PackedMember, PackedStep, PackedTerms
from aeframe.types import Batch

if TYPE_CHECKING:
    from aeframe.training.module import AutoencoderModule

T = TypeVar("T")
_SECONDS_BETWEEN_SIGNALS = 0.2
"""How often the main thread, which alone receives signals, wakes up."""
_RUN: ContextVar[PackedRun[Any] | None] = ContextVar("aeframe_packed_run", default=None)


def current_packed_run() -> PackedRun[Any] | None:
    """Return the run of this thread in a `RunPack`; None outside of one."""
    return _RUN.get()


def give_own_storage(checkpoint: dict[str, Any]) -> None:
    """Copy each tensor of a checkpoint that is part of a stack, if this is a run of a `RunPack`: torch saves whole
    stacks.
    """
    if current_packed_run() is not None:
        copied = apply_to_collection(checkpoint, Tensor, _with_own_storage)
        checkpoint.update(copied)


def _with_own_storage(tensor: Tensor) -> Tensor:
    return tensor.clone() if tensor.untyped_storage().nbytes() > tensor.nbytes else tensor


class PackedRun(Generic[T]):
    """One run of a `RunPack`, in a thread of its own.

    Args:
        name: The name of the run in messages.
        execute: Execute the run and return its result.
    """

    def __init__(self, name: str, execute: Callable[[], T]) -> None:
        self.name = name
        self.result: T | None = None
        self.error: BaseException | None = None
        """What ended the run, or what its next call of `train_together` raises."""
        self.has_ended = False
        self.is_alone = False
        """Whether its batches are trained on by itself."""
        self.module: AutoencoderModule | None = None
        self.batches: Sequence[Batch] | None = None
        self.loss: Tensor | None = None
        self._turn, self._paused = threading.Semaphore(0), threading.Semaphore(0)
        self._execute = execute
        self._thread: threading.Thread | None = None

    @property
    def has_begun(self) -> bool:
        """Whether the thread of the run was started."""
        return self._thread is not None

    def train_together(self, module: AutoencoderModule, batches: Sequence[Batch]) -> Tensor | None:
        """Train the module of this run on batches, together with the other runs; return the loss of the last batch."""
        if self.is_alone:
            return train_on_batches(module, batches)
        self.module, self.batches, self.loss = module, batches, None
        self._paused.release()
        self._turn.acquire()
        error, self.error, self.module = self.error, None, None
        if error is not None:
            raise error
        # Its batches are left if no other run waits with the same ones.
        return self.loss if self.batches is None else train_on_batches(module, batches)

    def advance(self) -> None:
        """Let the run continue until it pauses or ends; called by the main thread."""
        if self._thread is None:
            # The thread has the context variables of the pack, such as the guard that forwards signals.
            run = contextvars.copy_context().run
            self._thread = threading.Thread(target=run, args=(self._main,), name=self.name, daemon=True)
            self._thread.start()
        else:
            self._turn.release()
        while not self._paused.acquire(timeout=_SECONDS_BETWEEN_SIGNALS):
            pass

    def guarded(self, function: Callable[[], Any]) -> None:
        """Call a function for the run; what it raises ends the run."""
        token = _RUN.set(self)
        try:
            function()
        except BaseException as error:  # noqa: BLE001
            self.error = error
        finally:
            _RUN.reset(token)

    def _main(self) -> None:
        _RUN.set(self)
        try:
            self.result = self._execute()
        except BaseException as error:  # noqa: BLE001
            self.error = error
        finally:
            self.has_ended = True
            self._paused.release()


class RunPack(Generic[T]):
    """Execute runs in one process, and train those of one structure together.

    Args:
        runs: The runs, which have not begun.
        note: Print a sentence about a run that is trained alone.
    """

    def __init__(self, runs: Sequence[PackedRun[T]], note: Callable[[str], None]) -> None:
        self.runs, self._note = list(runs), note
        self._kinds: list[list[PackedRun[T]]] = []
        self._steps: dict[tuple[int, ...], PackedStep] = {}

    def execute(self) -> None:
        """Execute all runs; each then has its `result`, or the `error` that ended it."""
        live = self.runs
        with SignalGuard() as signals, signals.deferring(), signals.forwarding():
            try:
                while live:
                    for run in live:
                        run.advance()
                    live = [run for run in live if not run.has_ended]
                    for group in self._groups(live):
                        self._train(group)
                self._drop_steps({id(run) for run in self.runs})
            finally:
                # After a second signal, which is not deferred.
                for run in live:
                    while run.has_begun and not run.has_ended:
                        run.error = Interrupted(signals.received or 2)
                        run.batches = None
                        run.advance()

    # -- groups --------------------------------------------------------------------------------------------------

    def _groups(self, live: Sequence[PackedRun[T]]) -> list[list[PackedRun[T]]]:
        """Return the runs that can train together now: of one kind, at the same batch of equally long runs."""
        groups: dict[Any, list[PackedRun[T]]] = {}
        for run in live:
            if run.module is None or run.batches is None or run.is_alone:
                continue
            kind = self._kind(run, run.module)
            if kind is not None:
                shapes = tuple(tuple(batch.x.shape) for batch in run.batches)
                counts = tuple(run.module.progress.state_dict().values())
                groups.setdefault((kind, run.module.is_measuring_gradients(), counts, shapes), []).append(run)
        return [group for group in groups.values() if len(group) > 1]

    def _kind(self, run: PackedRun[T], module: AutoencoderModule) -> int | None:
        """Return the number of the kind of a run: with others of its kind it differs in numbers only."""
        for number, kind in enumerate(self._kinds):
            if run in kind:
                return number
        reason = _reason_to_train_alone(module)
        if reason is not None:
            self._train_alone([run], reason)
            return None
        for number, kind in enumerate(self._kinds):
            other = kind[0].module
            if other is None:
                continue
            try:
                DifferingNumbers([other.model, module.model])
            except UnpackableError:
                continue
            kind.append(run)
            return number
        self._kinds.append([run])
        return len(self._kinds) - 1

    def _train_alone(self, runs: Sequence[PackedRun[T]], reason: str) -> None:
        for run in runs:
            run.is_alone = True
        names = ", ".join(run.name for run in runs)
        self._note(f"{names}: trained alone, since {reason}")

    # -- training ------------------------------------------------------------------------------------------------

    def _train(self, runs: Sequence[PackedRun[T]]) -> None:
        """Train runs of one kind on their batches."""
        number_of_batches = len(runs[0].batches or ())
        for number in range(number_of_batches):
            active = [run for run in runs if run.error is None and not _module(run).reached_max_batches()]
            if not active:
                break
            batches = [_batches(run)[number] for run in active]
            self._train_on(active, batches)
            if number + 1 < number_of_batches:
                for run, batch in zip(active, batches, strict=True):
                    if run.error is None:
                        run.guarded(lambda run=run, batch=batch: end_batch_of_several(_module(run), run.loss, batch))  # type: ignore[misc]
        for run in runs:
            run.batches = None

    def _train_on(self, runs: Sequence[PackedRun[T]], batches: Sequence[Batch]) -> None:
        modules = [_module(run) for run in runs]
        if len(runs) > 1 and not runs[0].is_alone:
            progress = modules[0].progress
            try:
                step = self._step(runs, batches)
                norms = modules[0].is_measuring_gradients()
                terms, gradients = step.compute(batches, progress, norms=norms)
            except UnpackableBatchError:
                self._drop_steps({id(run) for run in runs})
            except UnpackableError as error:
                self._drop_steps({id(run) for run in runs})
                self._train_alone(runs, str(error))
            else:
                step.step(gradients, [module.groups[0].settings.clip for module in modules])
                losses = terms.means[:, -1].unbind()
                for row, (run, module, batch) in enumerate(zip(runs, modules, batches, strict=True)):
                    run.loss = losses[row]
                    run.guarded(lambda module=module, row=row, batch=batch: _complete(module, terms, row, batch))  # type: ignore[misc]
                return
        for run, module, batch in zip(runs, modules, batches, strict=True):

            def train(run: PackedRun[T] = run, module: AutoencoderModule = module, batch: Batch = batch) -> None:
                run.loss = module.train_on(batch)

            run.guarded(train)

    def _step(self, runs: Sequence[PackedRun[T]], batches: Sequence[Batch]) -> PackedStep:
        """Return the step of these runs; that of other runs of the kind is dropped, since its stacks are now stale."""
        key = tuple(id(run) for run in runs)
        step = self._steps.get(key)
        if step is None:
            self._drop_steps(set(key))
            modules = [_module(run) for run in runs]
            step = PackedStep([PackedMember(module.model, module.groups[0], module.seed) for module in modules])
            step.check(batches, modules[0].progress)
            self._steps[key] = step
        return step

    def _drop_steps(self, runs: set[int]) -> None:
        """Drop the steps of which one of the runs, given by their ids, is a member."""
        for key in [key for key in self._steps if runs & set(key)]:
            self._steps.pop(key).release()


def _complete(module: AutoencoderModule, terms: PackedTerms, row: int, batch: Batch) -> None:
    """Do what follows the step of a run's optimizer."""
    group = module.groups[0]
    means, totals, weights = terms.means[row], terms.totals[row], terms.weights[row]
    module.metric_buffer.add_means(group.name, terms.names, means, weights, totals, module.progress, batch)
    module.add_gradient_norms({name: norms[row] for name, norms in terms.gradient_norms.items()}, group)
    set_batch_size(module.trainer, len(batch))
    module.end_packed_batch()


def _reason_to_train_alone(module: AutoencoderModule) -> str | None:
    """Return why a run cannot be trained with others, None if nothing is known that prevents it."""
    trainer = module.trainer
    settings = module.groups[0].settings
    algorithm = module._trainer_settings[1] if module._trainer_settings is not None else None
    if len(module.groups) > 1:
        return f"it has the optimizer groups {' and '.join(group.name for group in module.groups)}"
    if settings.accumulate > 1 or settings.every > 1 or settings.start > 0 or module.groups[0].num_summed:
        return "it does not step at every batch"
    if trainer.precision != "32-true":
        return f"it has trainer.precision={trainer.precision}"
    if module.model.is_compiled:
        return "it is compiled"
    if trainer.world_size > 1 or is_forward_only(trainer):
        return "it is trained on several devices" if trainer.world_size > 1 else "this epoch has no backward passes"
    callbacks = [each for each in trainer.callbacks if not isinstance(each, WeightAverage)]  # type: ignore[attr-defined]
    reads = next((each for each in callbacks if is_overridden("on_before_zero_grad", each)), None)
    if reads is not None:
        return f"its callback {type(reads).__name__} reads gradients"
    if not module._steps_directly or (settings.clip is not None and algorithm == "value"):
        return "a callback or a setting of its Trainer needs the gradients of each step"
    return "some of its parts are frozen" if module._frozen else None


def _module(run: PackedRun[Any]) -> AutoencoderModule:
    assert run.module is not None
    return run.module


def _batches(run: PackedRun[Any]) -> Sequence[Batch]:
    assert run.batches is not None
    return run.batches
