"""Hooks."""

from mmengine.hooks import Hook

from ..errors import InputError
from ..registry import HOOKS


@HOOKS.register_module()
class NumClassesCheckHook(Hook):
    """Checks, before a loop starts, that the heads have as many classes as its data set.

    Raises:
        InputError: if they do not.
    """

    def before_train(self, runner):
        self._check(runner, runner.train_dataloader)

    def before_val(self, runner):
        self._check(runner, runner.val_dataloader)

    def before_test(self, runner):
        self._check(runner, runner.test_dataloader)

    def _check(self, runner, dataloader):
        classes = dataloader.dataset.metainfo.get('classes', ())
        model = runner.model
        while hasattr(model, 'module'):  # a wrapper, for several processes or for augmented tests
            model = model.module
        for name, module in model.named_modules():
            # mmseg's segmentors repeat the number of their head; mmpretrain's losses may have None.
            num_classes = getattr(module, 'num_classes', None) or len(classes)
            if name and classes and num_classes != len(classes) and not name.endswith('rpn_head'):
                raise InputError(
                    f'model.{name} has num_classes={num_classes} and the data set has '
                    f'{len(classes)} classes ({", ".join(classes[:3])}, ...): set '
                    f'model.{name}.num_classes={len(classes)}, or metainfo.classes of the data set'
                )


@HOOKS.register_module()
class ResumeEpochHook(Hook):
    """Lets a run that resumes in the middle of an epoch see only the rest of its batches.

    For training by epochs with a :class:`~edgenext_mm.engine.samplers.MultiScaleBatchSampler`.
    Checkpoints in the middle of an epoch come from a CheckpointHook with ``by_epoch=False``.
    """

    def before_train_epoch(self, runner):
        dataloader = runner.train_dataloader
        # The loader was made before the checkpoint told the seed of the run.
        dataloader.batch_sampler.sampler.seed = runner.seed
        dataloader.batch_sampler.done = runner.iter - runner.epoch * len(dataloader)
